/** Items that are asked for one by one and fetched many at once. Never here: where they come from. */

import type { NativeLines } from '../native/index.js';
import type { Session } from './life.js';

/** A place in things that are fetched many at once. */
export interface Cursor<Item> {
  /** Gives the next of what was fetched. */
  next(): Item | undefined;
  /** Fetches more: `false` says that nothing is there yet and the session will wake, `null` that nothing will be. */
  fetch(): boolean | null;
}

/** The stream whose items are pulled instead of its bytes. */
interface Owner {
  finish(then: (failure: Error | null) => void): void;
  destroy(): unknown;
}

/** Items of a stream. Several `next()` at once are answered in their order. */
export class Pulled<Item> implements AsyncIterableIterator<Item> {
  readonly #owner: Owner;
  readonly #session: Session;
  readonly #cursor: Cursor<Item>;
  readonly #asked: Array<{
    resolve(item: IteratorResult<Item>): void;
    reject(why: Error): void;
  }> = [];
  #over = false;
  #failure: Error | null = null;
  /** Others have their turn after each batch: the next one may be there at once, again and again. */
  #turn: NodeJS.Immediate | undefined;

  constructor(owner: Owner, session: Session, cursor: Cursor<Item>) {
    this.#owner = owner;
    this.#session = session;
    this.#cursor = cursor;
  }

  next(): Promise<IteratorResult<Item>> {
    if (this.#asked.length === 0 && !this.#over) {
      const value = this.#cursor.next();
      if (value !== undefined) return Promise.resolve({ value, done: false });
    }
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#serve();
    });
  }

  async return(): Promise<IteratorResult<Item>> {
    this.#over = true;
    this.#owner.destroy();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it because its stream was destroyed. */
  fail(why: Error | null): void {
    this.#failure ??= why;
    this.#over = true;
    this.#serve();
  }

  #serve(): void {
    while (this.#asked.length > 0) {
      const value = this.#over ? undefined : this.#cursor.next();
      if (value !== undefined) {
        this.#asked.shift()?.resolve({ value, done: false });
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
    if (this.#turn) return false;
    const found = this.#cursor.fetch();
    if (found === null) {
      this.#owner.finish((failure) => {
        this.fail(failure);
        this.#owner.destroy();
      });
      return this.#over;
    }
    if (found) {
      this.#turn = setImmediate(() => {
        this.#turn = undefined;
        this.#serve();
      });
    } else this.#session.wait(this.#owner, () => this.#serve(), true);
    return found;
  }
}

/** The lines in batches of them. */
export class Lines implements Cursor<Buffer | string> {
  readonly #take: (text: boolean) => NativeLines | null;
  readonly #encoding: BufferEncoding | undefined;
  #data: Buffer = Buffer.alloc(0);
  #ends: Uint32Array = new Uint32Array();
  #index = 0;
  #start = 0;

  constructor(take: (text: boolean) => NativeLines | null, encoding: BufferEncoding | undefined) {
    this.#take = take;
    this.#encoding = encoding;
  }

  next(): Buffer | string | undefined {
    if (this.#index >= this.#ends.length) return undefined;
    const end = this.#ends[this.#index++] as number;
    const start = this.#start;
    this.#start = end;
    return this.#encoding === undefined
      ? this.#data.subarray(start, end)
      : this.#data.toString(this.#encoding, start, end);
  }

  fetch(): boolean | null {
    const found = this.#take(/^utf-?8$/i.test(this.#encoding ?? ''));
    if (found === null) return null;
    ({ data: this.#data, ends: this.#ends } = found);
    this.#index = 0;
    this.#start = 0;
    return this.#ends.length > 0;
  }
}
