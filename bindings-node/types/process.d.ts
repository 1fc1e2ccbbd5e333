/** A running remote process. Lives here: its streams, its exit status, its terminal. */
import type { TerminalSize } from './options.js';
import { Input, Output } from './streams.js';
/** How a command ended. A code other than 0 is a result, not an error. */
export interface ExitStatus {
    /** The command's own code. */
    readonly code: number;
    /**
     * How sure a code of 0 is: `confirmed` (the protocol cannot say it by mistake), `checked` (the
     * node was asked afterwards) or `unchecked`.
     */
    readonly confidence: 'checked' | 'confirmed' | 'unchecked';
}
/** What `followResize` needs of a `tty.WriteStream`. */
export interface TerminalLike extends TerminalSize {
    on(event: 'resize', listener: () => void): unknown;
    off(event: 'resize', listener: () => void): unknown;
}
/** A running remote process. There is no way to stop it from here: it sees the end of its input. */
export declare class Process implements AsyncDisposable {
    #private;
    /** Its input, where `stdin: true` was asked for. `end()` ends it; `destroy()` closes the session. */
    readonly stdin: Input | null;
    /** Its output; leaving it before its end closes the session, `resume()` throws it away. */
    readonly stdout: Output | null;
    /** Its error output, likewise; on a terminal it arrives on `stdout`. */
    readonly stderr: Output | null;
    /**
     * Its exit status, once. Rejected with a `WsxError` when there is none (`lost`, `protocol`,
     * `timeout`, `closed`, `not_started`: the outcome is not known or nothing ran) and with an
     * `AbortError` when it was aborted. Nobody has to look at it.
     */
    get exit(): Promise<ExitStatus>;
    /** Its exit status, where it is known already. */
    get status(): ExitStatus | null;
    /** Its exit code, where it is known already. */
    get exitCode(): number | null;
    /** The subprotocol that was agreed with the server, such as `v5.channel.k8s.io`. */
    get protocol(): string;
    /** Whether the remote process has a terminal: its error output then arrives on `stdout`. */
    get hasTerminal(): boolean;
    /** Says the terminal's new size; of several that wait only the last is sent. */
    resize(size: TerminalSize): void;
    /** Says the size of this terminal, now and whenever it changes, until the end or `dispose`. */
    followResize(terminal: TerminalLike): Disposable;
    /** Closes the session at once; `exit` and the streams fail with an `AbortError`. */
    abort(reason?: unknown): void;
    /** Closes the session, where it is still open, and waits until the connection is gone. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
