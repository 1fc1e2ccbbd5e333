/** Bytes in and out, over things that never wait. Never here: what an ending means. */

import { Readable, Writable } from 'node:stream';

import type { NativeLines, NativeProcess } from '../native/index.js';
import { WsxError, fromNative, invalid } from './errors.js';
import type { Session } from './life.js';
import { Lines, Pulled, type Cursor } from './pulled.js';

/** Where the bytes of an output come from: takes that never wait. */
export interface Source {
  /** Fills memory; 0 says that nothing is there yet and the session will wake, `null` that nothing will be. */
  read(target: Buffer): number | null;
  /** Takes whole lines, as bytes or as UTF-8; no `ends` and `null` say the same. */
  lines(text: boolean): NativeLines | null;
  /** Drops what is there and what will come. */
  discard(): void;
}

/** How much is handed over without letting other events in. */
const TURN = 1024 * 1024;
/** Output is read into memory of this size, many small pieces or one large one. Each chunk costs about 3 µs. */
const SLAB = 512 * 1024;
/** Less of it than this is not worth another read. */
const SCRAP = 16 * 1024;
/** After so much memory V8 is made to look for garbage. */
const LITTER = 4 * 1024 * 1024;
/**
 * What makes it look: memory that is never touched, and so costs none. More than V8's limit, and more
 * than the 32 MB from which on glibc gives memory back as soon as it is free.
 */
const BALLAST = 33 * 1024 * 1024;
/** The largest piece of input that is copied at once. */
const PIECE = 256 * 1024;
const LEFT = 'the input was left before its end';

/**
 * An output of a remote process. It ends when the process has ended and its exit is known; when there
 * is no exit status, it is destroyed with that error and does not end.
 */
export class Output extends Readable {
  readonly #session: Session;
  readonly #source: Source;
  #pulled: { fail(why: Error | null): void } | null = null;
  #slab: Buffer = Buffer.alloc(0);
  #ended = false;
  #failure: Error | null = null;
  /** Whether the last piece had to wait for its reader. */
  #slow = false;
  /** How much was read since others last had their turn. */
  #taken = 0;
  #turn: NodeJS.Immediate | undefined;

  /** @internal */
  constructor(session: Session, source: Source) {
    super({ highWaterMark: SLAB });
    this.#session = session;
    this.#source = source;
  }

  /**
   * Iterates over lines, each with its line feed; only the last may have none. A line over 1 MiB comes
   * in pieces. Takes the place of reading the stream; leaving it early closes the session.
   */
  lines(options?: { encoding?: undefined }): AsyncIterableIterator<Buffer>;
  lines(options: { encoding: BufferEncoding }): AsyncIterableIterator<string>;
  lines(options: { encoding?: BufferEncoding } = {}): AsyncIterableIterator<Buffer | string> {
    const { encoding } = options;
    if (encoding !== undefined && !Buffer.isEncoding(encoding)) {
      throw invalid(`encoding ${String(encoding)} is not known`);
    }
    return this.pull(new Lines((text) => this.#source.lines(text), encoding));
  }

  /** @internal Iterates over items instead of bytes. */
  pull<Item>(cursor: Cursor<Item>): AsyncIterableIterator<Item> {
    if (this.#pulled || this.readableFlowing !== null || this.readableDidRead || this.destroyed) {
      throw invalid('this output is being read already, so its lines cannot be');
    }
    const pulled = new Pulled(this, this.#session, cursor);
    this.#pulled = pulled;
    return pulled;
  }

  override _read(): void {
    if (this.#pulled) this.destroy(invalid('this output is read by lines()'));
    else this.#pull();
  }

  #pull(): void {
    // A stream in flow asks again and again in one breath, for as long as there is something.
    while (this.#taken < TURN) {
      if (this.destroyed) return;
      if (this.#slab.length < SCRAP) this.#slab = slab(this.#slow);
      const used = this.#source.read(this.#slab);
      if (used === null) return this.finish((failure) => this.#end(failure));
      if (used === 0) return this.#session.wait(this, () => this.#pull(), true);
      const data = this.#slab.subarray(0, used);
      this.#slab = this.#slab.subarray(used);
      this.#taken += used;
      this.#slow = !this.push(data);
      if (this.#slow) return;
    }
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#taken = 0;
      this.#pull();
    });
  }

  #end(failure: Error | null): void {
    this.#failure = failure;
    if (failure) this.#fail();
    else this.push(null);
  }

  override read(size?: number): unknown {
    const data = super.read(size);
    if (this.#failure) queueMicrotask(() => this.#fail());
    return data;
  }

  /** Tells the failure once all that came before it was taken: `destroy` throws the rest away. */
  #fail(): void {
    if (this.readableLength === 0) this.destroy(this.#failure as Error);
  }

  /** @internal Says that nothing will come, and waits until it is known why. */
  finish(then: (failure: Error | null) => void): void {
    this.#ended = true;
    this.#session.after(then, true);
  }

  /** @internal Fails because the session was ended from here. */
  leave(why: Error): void {
    if (!this.#ended && !this.destroyed) this.destroy(why);
  }

  override _destroy(why: Error | null, done: (why?: Error | null) => void): void {
    this.#session.forget(this);
    this.#source.discard();
    if (!this.#ended) this.#session.close();
    this.#pulled?.fail(why);
    done(heard(this, this.#session, why));
  }
}

/** The input of a remote process. `end()` ends it; destroyed before, it closes the session. */
export class Input extends Writable {
  readonly #session: Session;
  readonly #native: NativeProcess;
  #ended = false;
  /** Who waits for room for what was written. */
  #unfinished: ((why: Error) => void) | null = null;

  /** @internal */
  constructor(session: Session, native: NativeProcess) {
    super({ highWaterMark: 64 * 1024 });
    this.#session = session;
    this.#native = native;
    // Who pipes into it learns that nobody reads any more, like with a local pipe: now, or when the pipe is
    // laid afterwards.
    const refuse = (): void => {
      if (!this.#ended && this.listenerCount('error') > 0) {
        const message = 'the remote side takes no more input';
        this.destroy(new WsxError('closed', message, { mayHaveStarted: true }));
      }
    };
    session.after(() => {
      refuse();
      this.on('pipe', () => process.nextTick(refuse));
    });
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
      // Its `done` was called by `_destroy`.
      if (this.destroyed) return;
      this.#unfinished = null;
      try {
        while (index < chunks.length) {
          if (!this.#native.drained()) {
            this.#unfinished = done;
            return this.#session.wait(this, go, true);
          }
          const { chunk } = chunks[index] as { chunk: Buffer };
          this.#native.write(chunk.subarray(offset, offset + PIECE));
          offset += PIECE;
          if (offset >= chunk.length) [index, offset] = [index + 1, 0];
        }
      } catch (error) {
        // The remote side takes no more: there is nothing left to cut short.
        this.#ended = true;
        return done(fromNative(error));
      }
      done();
    };
    go();
  }

  override _final(done: (why?: Error) => void): void {
    this.#ended = true;
    this.#native.end();
    done();
  }

  /** @internal Fails because the session was ended from here. */
  leave(why: Error): void {
    if (!this.#ended && !this.destroyed) this.destroy(why);
  }

  override _destroy(why: Error | null, done: (why?: Error | null) => void): void {
    this.#session.forget(this);
    if (!this.#ended) this.#session.close();
    this.#unfinished?.(why ?? new WsxError('closed', LEFT, { mayHaveStarted: true }));
    done(heard(this, this.#session, why));
  }
}

/**
 * Returns the error that a stream emits. One that nobody listens for ends the program, so it is left
 * out where it needs no telling.
 */
function heard(stream: Readable | Writable, session: Session, why: Error | null): Error | null {
  return session.told && stream.listenerCount('error') === 0 ? null : why;
}

let litter = 0;

/**
 * Allocates memory to read into. Left alone, V8 lets 32 MB of buffers lie about before it collects the
 * young ones (any Node stream grows by 42 MB then); an allocation that would pass that limit makes it
 * collect at once, and a stream grows by 13 to 18 MB. Only where the reader is slow: it costs as much
 * as reading does.
 */
function slab(slow: boolean): Buffer {
  if (slow) litter += SLAB;
  if (litter > LITTER) {
    litter = 0;
    Buffer.allocUnsafeSlow(BALLAST);
  }
  return Buffer.allocUnsafeSlow(SLAB);
}
