/** The streams of a process, over things that never wait. Never here: what an ending means. */
import { Readable, Writable } from 'node:stream';
import type { NativeProcess } from '../native/index.js';
/** What streams need of the process that they belong to. */
export interface Session {
    readonly native: NativeProcess;
    /** Whether a failure needs no telling: somebody looks at the exit, or it was ended from here. */
    readonly told: boolean;
    /** Has `wake` called once, when something has changed; while `pinned`, the program does not end. */
    wait(key: unknown, wake: () => void, pinned: boolean): void;
    /** Takes that back. */
    forget(key: unknown): void;
    /** Calls when the exit is known, with what went wrong instead. */
    after(then: (failure: Error | null) => void, pinned?: boolean): void;
    /** Closes the session because a stream was left. */
    close(): void;
}
/**
 * An output of a remote process. It ends when the process has ended and its exit is known; when there
 * is no exit status, it is destroyed with that error and does not end.
 */
export declare class Output extends Readable {
    #private;
    /**
     * Iterates over lines, each with its line feed; only the last may have none. A line over 1 MiB comes
     * in pieces. Takes the place of reading the stream; leaving it early closes the session.
     */
    lines(options?: {
        encoding?: undefined;
    }): AsyncIterableIterator<Buffer>;
    lines(options: {
        encoding: BufferEncoding;
    }): AsyncIterableIterator<string>;
    _read(): void;
    read(size?: number): unknown;
    _destroy(why: Error | null, done: (why?: Error | null) => void): void;
}
/** The input of a remote process. `end()` ends it; destroyed before, it closes the session. */
export declare class Input extends Writable {
    #private;
    _write(chunk: Buffer, _encoding: BufferEncoding, done: (why?: Error) => void): void;
    _writev(chunks: Array<{
        chunk: Buffer;
    }>, done: (why?: Error) => void): void;
    _final(done: (why?: Error) => void): void;
    _destroy(why: Error | null, done: (why?: Error | null) => void): void;
}
