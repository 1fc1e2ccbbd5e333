/** A connection to a port of a pod, as a stream. Lives here: what HTTP wants of a socket. */
import { Duplex } from 'node:stream';
/**
 * A connection to a port of a pod. It ends only where the pod itself has ended it, and all that came was
 * read; when it was cut, it is destroyed with an error (`lost`) and does not end. `end()` says that
 * nothing more comes from here, and what the pod sends still arrives; `destroy()` resets it.
 *
 * It keeps the program alive until it is closed, like a `net.Socket`; see `unref`.
 */
export declare class ForwardSocket extends Duplex {
    #private;
    /** Whether it has yet to be connected: it never has. */
    readonly connecting = false;
    /** After so many milliseconds without data it emits `timeout`; 0 for never. */
    timeout: number;
    _read(): void;
    read(size?: number): unknown;
    _write(chunk: Buffer, _encoding: BufferEncoding, done: (why?: Error) => void): void;
    _writev(chunks: Array<{
        chunk: Buffer;
    }>, done: (why?: Error) => void): void;
    _final(done: (why?: Error) => void): void;
    _destroy(why: Error | null, done: (why?: Error | null) => void): void;
    /** Ends it, and lets go of it: the pod has some seconds to end it too, and nothing is told any more. */
    destroySoon(): void;
    /** Keeps the program alive until it is closed; so it is from the beginning. */
    ref(): this;
    /** Lets the program end though it is open. */
    unref(): this;
    /** Emits `timeout` after so many milliseconds without data, and does nothing else; 0 for never. */
    setTimeout(milliseconds: number, listener?: () => void): this;
    /** Nothing is ever delayed here. */
    setNoDelay(): this;
    /** The session that carries it is pinged already. */
    setKeepAlive(): this;
}
