/** A connection to a port of a pod, as a stream. Lives here: what HTTP wants of a socket. */

import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';

import type { NativeForwardStream } from '../native/index.js';
import { AbortError, WsxError, fromNative, invalid } from './errors.js';
import { pin, thrown } from './life.js';

/** How much is handed over without letting other events in. */
const TURN = 1024 * 1024;
/** All connections read into memory of this size, one piece after the other. */
const SLAB = 256 * 1024;
/** Less of it than this is not worth another read. */
const SCRAP = 16 * 1024;
/** How much waits for its reader, and for the session. */
const HELD = 64 * 1024;
/** The largest piece of input that is copied at once. */
const PIECE = 256 * 1024;
/** For the pod to end what HTTP is done with. */
const PARTING = 5000;
/** The longest time of a timer. */
const LONGEST = 2 ** 31 - 1;

let slab: Buffer = Buffer.alloc(0);

/**
 * A connection to a port of a pod. It ends only where the pod itself has ended it, and all that came was
 * read; when it was cut, it is destroyed with an error (`lost`) and does not end. `end()` says that
 * nothing more comes from here, and what the pod sends still arrives; `destroy()` resets it.
 *
 * It keeps the program alive until it is closed, like a `net.Socket`; see `unref`.
 */
export class ForwardSocket extends Duplex {
  /** Whether it has yet to be connected: it never has. */
  readonly connecting = false;
  /** After so many milliseconds without data it emits `timeout`; 0 for never. */
  timeout = 0;
  readonly #native: NativeForwardStream;
  readonly #signal: AbortSignal | undefined;
  readonly #connections: Set<(why: Error) => void>;
  /** How much was read since others last had their turn. */
  #taken = 0;
  #turn: NodeJS.Immediate | undefined;
  /** Whether there was nothing to read. */
  #hungry = false;
  /** Goes on writing when there is room. */
  #write: (() => void) | null = null;
  /** Who waits for that, or for the end of what was not taken. */
  #unfinished: ((why: Error) => void) | null = null;
  /** Why it was cut, until all that came before was read. */
  #failure: Error | null = null;
  /** Why something written was not taken. Told with the end of what the pod sent: that comes first. */
  #untaken: Error | null = null;
  /** Ends what nobody wants to hear of any more. */
  #parting: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unpin: (() => void) | null = null;

  /** @internal */
  constructor(
    native: NativeForwardStream,
    signal: AbortSignal | undefined,
    connections: Set<(why: Error) => void>,
  ) {
    // The pod takes nothing after its end, so that is the end of both.
    super({ allowHalfOpen: false, highWaterMark: HELD });
    this.#native = native;
    this.#signal = signal;
    this.#connections = connections;
    native.listen(() => this.#wake());
    connections.add(this.#leave);
    signal?.addEventListener('abort', this.#abort, { once: true });
    this.ref();
    // It may have been aborted while the answer was on its way.
    if (signal?.aborted) this.#abort();
    // A connection that is refused is told to who only writes, too; but whoever takes it listens first.
    else setImmediate(() => this.read(0));
  }

  override _read(): void {
    this.#pull();
  }

  #pull(): void {
    this.#hungry = false;
    // A stream in flow asks again and again in one breath, for as long as there is something.
    while (this.#taken < TURN) {
      if (this.destroyed) return;
      if (slab.length < SCRAP) slab = Buffer.allocUnsafeSlow(SLAB);
      let used: number | null;
      try {
        used = this.#native.read(slab);
      } catch (error) {
        this.#failure = fromNative(error);
        return this.#fail();
      }
      if (used === null) return this.#end();
      if (used === 0) {
        this.#hungry = true;
        return;
      }
      const data = slab.subarray(0, used);
      slab = slab.subarray(used);
      this.#taken += used;
      this.#timer?.refresh();
      try {
        if (!this.push(data)) return;
      } catch (error) {
        // A listener has thrown: what comes after is still to be read.
        thrown(error);
      }
    }
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#taken = 0;
      this.#pull();
    });
  }

  #end(): void {
    this.#failure = this.#untaken;
    if (this.#failure) this.#fail();
    else this.push(null);
  }

  override read(size?: number): unknown {
    const data = super.read(size);
    if (this.#failure) queueMicrotask(() => this.#fail());
    return data;
  }

  /** Tells the failure once all that came before it was read: `destroy` throws the rest away. */
  #fail(): void {
    if (this.readableLength > 0) return;
    const why = this.#failure as Error;
    // To HTTP a body without a length is whole when its connection is over, even by an error.
    const { res } = (this as { _httpMessage?: { res?: IncomingMessage } })._httpMessage ?? {};
    if (res?.complete === false) res.destroy(why);
    this.destroy(this.#parting ? undefined : why);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (why?: Error) => void): void {
    this.#put([{ chunk }], done);
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: (why?: Error) => void): void {
    this.#put(chunks, done);
  }

  #put(chunks: Array<{ chunk: Buffer }>, done: (why?: Error) => void): void {
    let [index, offset] = [0, 0];
    const go = (): void => {
      this.#write = null;
      this.#unfinished = null;
      try {
        while (index < chunks.length && !this.#untaken) {
          if (!this.#native.room()) {
            this.#write = go;
            this.#unfinished = done;
            return;
          }
          const { chunk } = chunks[index] as { chunk: Buffer };
          this.#native.write(chunk.subarray(offset, offset + PIECE));
          this.#timer?.refresh();
          offset += PIECE;
          if (offset >= chunk.length) [index, offset] = [index + 1, 0];
        }
      } catch (error) {
        this.#untaken = fromNative(error);
      }
      if (!this.#untaken) done();
      else if (this.#unread()) done(this.#untaken);
      // What comes from the pod has its turn, however much there is to write.
      else setImmediate(done);
    };
    go();
  }

  override _final(done: (why?: Error) => void): void {
    if (!this.#untaken) {
      this.#native.end();
      return done();
    }
    if (this.#unread()) done(this.#untaken);
    else this.#unfinished = done;
  }

  /** Tells whether nobody reads to the end, at which what was not taken would be told. */
  #unread(): boolean {
    return this.readableFlowing === null;
  }

  #wake(): void {
    this.#native.heard();
    try {
      this.#write?.();
    } catch (error) {
      thrown(error);
    }
    if (this.#hungry) this.#pull();
  }

  readonly #abort = (): void => this.#leave(new AbortError(this.#signal?.reason));

  /** Fails because the connection was ended from here: of no interest to who does not listen. */
  readonly #leave = (why: Error): void => {
    this.destroy(this.listenerCount('error') > 0 && !this.#parting ? why : undefined);
  };

  override _destroy(why: Error | null, done: (why?: Error | null) => void): void {
    this.#native.leave();
    this.#connections.delete(this.#leave);
    this.#signal?.removeEventListener('abort', this.#abort);
    this.unref();
    clearTimeout(this.#timer);
    clearTimeout(this.#parting);
    this.#write = null;
    this.#unfinished?.(why ?? new WsxError('closed', 'the connection was left'));
    done(why);
  }

  /** Ends it, and lets go of it: the pod has some seconds to end it too, and nothing is told any more. */
  destroySoon(): void {
    if (this.destroyed || this.#parting) return;
    this.#parting = setTimeout(() => this.destroy(), PARTING).unref();
    this.unref().resume().end();
  }

  /** Keeps the program alive until it is closed; so it is from the beginning. */
  ref(): this {
    if (!this.destroyed) this.#unpin ??= pin(this);
    return this;
  }

  /** Lets the program end though it is open. */
  unref(): this {
    this.#unpin?.();
    this.#unpin = null;
    return this;
  }

  /** Emits `timeout` after so many milliseconds without data, and does nothing else; 0 for never. */
  setTimeout(milliseconds: number, listener?: () => void): this {
    if (!(milliseconds >= 0)) throw invalid(`${milliseconds} is no time in milliseconds`);
    clearTimeout(this.#timer);
    this.timeout = milliseconds;
    this.#timer = undefined;
    if (listener) this.off('timeout', listener);
    if (milliseconds > 0 && !this.destroyed) {
      const tell = (): boolean => this.emit('timeout');
      this.#timer = setTimeout(tell, Math.min(milliseconds, LONGEST)).unref();
      if (listener) this.once('timeout', listener);
    }
    return this;
  }

  /** Nothing is ever delayed here. */
  setNoDelay(): this {
    return this;
  }

  /** The session that carries it is pinged already. */
  setKeepAlive(): this {
    return this;
  }
}
