/** A running remote process. Lives here: its streams, its exit status, its terminal. */

import { Channel, type NativeProcess } from '../native/index.js';
import { AbortError, WsxError, fromNative } from './errors.js';
import { Life } from './life.js';
import type { AttachOptions, TerminalSize } from './options.js';
import { Input, Output, type Source } from './streams.js';

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
export class Process implements AsyncDisposable {
  /** Its input, where `stdin: true` was asked for. `end()` ends it; `destroy()` closes the session. */
  readonly stdin: Input | null;
  /** Its output; leaving it before its end closes the session, `resume()` throws it away. */
  readonly stdout: Output | null;
  /** Its error output, likewise; on a terminal it arrives on `stdout`. */
  readonly stderr: Output | null;
  readonly #life: Life<NativeProcess, ExitStatus>;

  /** @internal */
  constructor(native: NativeProcess, options: AttachOptions, running: Set<(why: Error) => void>) {
    this.#life = new Life(native, options.signal, running);
    const output = (channel: Channel): Output => new Output(this.#life, source(native, channel));
    this.stdin = options.stdin ? new Input(this.#life, native) : null;
    this.stdout = options.stdout === false ? null : output(Channel.Stdout);
    this.stderr = options.stderr === false || native.hasTerminal ? null : output(Channel.Stderr);
    this.#life.begin([this.stdin, this.stdout, this.stderr]);
  }

  /**
   * Its exit status, once. Rejected with a `WsxError` when there is none (`lost`, `protocol`,
   * `timeout`, `closed`, `not_started`: the outcome is not known or nothing ran) and with an
   * `AbortError` when it was aborted. Nobody has to look at it.
   */
  get exit(): Promise<ExitStatus> {
    return this.#life.watched();
  }

  /** Its exit status, where it is known already. */
  get status(): ExitStatus | null {
    return this.#life.status;
  }

  /** Its exit code, where it is known already. */
  get exitCode(): number | null {
    return this.#life.status?.code ?? null;
  }

  /** The subprotocol that was agreed with the server, such as `v5.channel.k8s.io`. */
  get protocol(): string {
    return this.#life.native.protocol;
  }

  /** Whether the remote process has a terminal: its error output then arrives on `stdout`. */
  get hasTerminal(): boolean {
    return this.#life.native.hasTerminal;
  }

  /** Says the terminal's new size; of several that wait only the last is sent. */
  resize(size: TerminalSize): void {
    try {
      this.#life.native.resize({ columns: size?.columns, rows: size?.rows });
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Says the size of this terminal, now and whenever it changes, until the end or `dispose`. */
  followResize(terminal: TerminalLike): Disposable {
    const tell = (): void => this.resize(terminal);
    tell();
    terminal.on('resize', tell);
    const stop = (): void => void terminal.off('resize', tell);
    this.#life.after(stop);
    return { [Symbol.dispose]: stop };
  }

  /** Closes the session at once; `exit` and the streams fail with an `AbortError`. */
  abort(reason?: unknown): void {
    this.#life.end(new AbortError(reason));
  }

  /** Closes the session, where it is still open, and waits until the connection is gone. */
  async close(): Promise<void> {
    this.#life.end(new WsxError('closed', 'the session was closed', { mayHaveStarted: true }));
    await this.#life.watched().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** One of the outputs of a process. */
function source(native: NativeProcess, channel: Channel): Source {
  return {
    read: (target) => native.read(channel, target),
    lines: (text) => native.lines(channel, text),
    discard: () => native.discard(channel),
  };
}
