/** The streams of a process, over things that never wait. Never here: what an ending means. */

import { Readable, Writable } from 'node:stream';

import type { Channel, NativeProcess } from '../native/index.js';
import { WsxError, fromNative, invalid } from './errors.js';

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

/** How much is handed over without letting other events in. */
const TURN = 1024 * 1024;
/** Output is read into memory of this size, many small pieces or one large one. */
const SLAB = 128 * 1024;
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

/**
 * An output of a remote process. It ends when the process has ended and its exit is known; when there
 * is no exit status, it is destroyed with that error and does not end.
 */
export class Output extends Readable {
  readonly #session: Session;
  readonly #channel: Channel;
  #lines: Lines<Buffer | string> | null = null;
  #slab: Buffer = Buffer.alloc(0);
  #ended = false;
  #failure: Error | null = null;
  /** Whether the last piece had to wait for its reader. */
  #slow = false;

  /** @internal */
  constructor(session: Session, channel: Channel) {
    super({ highWaterMark: SLAB });
    this.#session = session;
    this.#channel = channel;
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
    if (this.#lines || this.readableFlowing !== null || this.readableDidRead || this.destroyed) {
      throw invalid('this output is being read already, so its lines cannot be');
    }
    this.#lines = new Lines(this, this.#session, this.#channel, encoding);
    return this.#lines;
  }

  override _read(): void {
    if (this.#lines) this.destroy(invalid('this output is read by lines()'));
    else this.#pull();
  }

  #pull(): void {
    for (let taken = 0; taken < TURN; ) {
      if (this.destroyed) return;
      if (this.#slab.length < SCRAP) this.#slab = slab(this.#slow);
      const used = this.#session.native.read(this.#channel, this.#slab);
      if (used === null) return this.finish((failure) => this.#end(failure));
      if (used === 0) return this.#session.wait(this, () => this.#pull(), true);
      const data = this.#slab.subarray(0, used);
      this.#slab = this.#slab.subarray(used);
      taken += used;
      this.#slow = !this.push(data);
      if (this.#slow) return;
    }
    setImmediate(() => this.#pull());
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
    this.#session.native.discard(this.#channel);
    if (!this.#ended) this.#session.close();
    this.#lines?.fail(why);
    done(heard(this, this.#session, why));
  }
}

/** The lines of an output. Several `next()` at once are answered in their order. */
class Lines<Line extends Buffer | string> implements AsyncIterableIterator<Line> {
  readonly #output: Output;
  readonly #session: Session;
  readonly #channel: Channel;
  readonly #encoding: BufferEncoding | undefined;
  readonly #asked: Array<{
    resolve(line: IteratorResult<Line>): void;
    reject(why: Error): void;
  }> = [];
  #data: Buffer = Buffer.alloc(0);
  #ends: Uint32Array = new Uint32Array();
  #index = 0;
  #start = 0;
  #over = false;
  #failure: Error | null = null;

  constructor(
    output: Output,
    session: Session,
    channel: Channel,
    encoding: BufferEncoding | undefined,
  ) {
    this.#output = output;
    this.#session = session;
    this.#channel = channel;
    this.#encoding = encoding;
  }

  next(): Promise<IteratorResult<Line>> {
    if (this.#asked.length === 0 && this.#index < this.#ends.length) {
      return Promise.resolve({ value: this.#line(), done: false });
    }
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#serve();
    });
  }

  async return(): Promise<IteratorResult<Line>> {
    this.#over = true;
    this.#output.destroy();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it because the output was destroyed. */
  fail(why: Error | null): void {
    this.#failure ??= why;
    this.#over = true;
    this.#ends = new Uint32Array();
    this.#serve();
  }

  #line(): Line {
    const end = this.#ends[this.#index++] as number;
    const start = this.#start;
    this.#start = end;
    return (
      this.#encoding === undefined
        ? this.#data.subarray(start, end)
        : this.#data.toString(this.#encoding, start, end)
    ) as Line;
  }

  #serve(): void {
    while (this.#asked.length > 0) {
      if (this.#index < this.#ends.length) {
        this.#asked.shift()?.resolve({ value: this.#line(), done: false });
      } else if (this.#over) {
        const asked = this.#asked.shift();
        // A failure is told once, like by a generator.
        if (this.#failure) asked?.reject(this.#failure);
        else asked?.resolve({ value: undefined, done: true });
        this.#failure = null;
      } else if (!this.#fetch()) {
        return;
      }
    }
  }

  /** Fetches a batch; `false` says that `#serve` will be called when there is one. */
  #fetch(): boolean {
    const found = this.#session.native.lines(this.#channel);
    if (found === null) {
      this.#output.finish((failure) => {
        this.fail(failure);
        this.#output.destroy();
      });
      return this.#over;
    }
    if (found.ends.length === 0) {
      this.#session.wait(this.#output, () => this.#serve(), true);
      return false;
    }
    ({ data: this.#data, ends: this.#ends } = found);
    this.#index = 0;
    this.#start = 0;
    return true;
  }
}

/** The input of a remote process. `end()` ends it; destroyed before, it closes the session. */
export class Input extends Writable {
  readonly #session: Session;
  #ended = false;

  /** @internal */
  constructor(session: Session) {
    super({ highWaterMark: 64 * 1024 });
    this.#session = session;
    session.after(() => {
      // Who pipes into it learns now that nobody reads any more, like with a local pipe.
      if (!this.#ended && this.listenerCount('error') > 0) {
        const message = 'the remote side takes no more input';
        this.destroy(new WsxError('closed', message, { mayHaveStarted: true }));
      }
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
      try {
        while (index < chunks.length) {
          if (!this.#session.native.drained()) return this.#session.wait(this, go, true);
          const { chunk } = chunks[index] as { chunk: Buffer };
          this.#session.native.write(chunk.subarray(offset, offset + PIECE));
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
    this.#session.native.end();
    done();
  }

  /** @internal Fails because the session was ended from here. */
  leave(why: Error): void {
    if (!this.#ended && !this.destroyed) this.destroy(why);
  }

  override _destroy(why: Error | null, done: (why?: Error | null) => void): void {
    this.#session.forget(this);
    if (!this.#ended) this.#session.close();
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
