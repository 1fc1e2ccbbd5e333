/** Bytes in and out, over things that never wait. Never here: what an ending means. */
import { Readable, Writable } from 'node:stream';
import type { NativeLines } from '../native/index.js';
/** Where the bytes of an output come from: takes that never wait. */
export interface Source {
    /** Fills memory; 0 says that nothing is there yet and the session will wake, `null` that nothing will be. */
    read(target: Buffer): number | null;
    /** Takes whole lines, as bytes or as UTF-8; no `ends` and `null` say the same. */
    lines(text: boolean): NativeLines | null;
    /** Drops what is there and what will come. */
    discard(): void;
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
