/** Events that wait for who takes them. Never here: what they tell. */

import { invalid } from './errors.js';

/** How many wait before there is made room. */
const LIMIT = 1000;

/** Events that wait for being taken, bounded, by one reader at a time. */
export class Events<Event> {
  readonly #fold: (kept: Event[]) => void;
  readonly #owner: string;
  #kept: Event[] = [];
  #asked: Array<(event: IteratorResult<Event>) => void> = [];
  #reading = false;
  #over = false;

  /** `owner` is whose events these are; `fold` makes room, by one or more, where it can. */
  constructor(owner: string, fold: (kept: Event[]) => void) {
    this.#owner = owner;
    this.#fold = fold;
  }

  push(event: Event): void {
    this.#kept.push(event);
    if (this.#kept.length > LIMIT) this.#fold(this.#kept);
    this.#serve();
  }

  /** Says that there will be no more. */
  end(): void {
    this.#over = true;
    this.#serve();
  }

  /** Iterates; `left` is called when the reader leaves, or is at the end. */
  open(left = (): void => {}): AsyncIterableIterator<Event> {
    if (this.#reading) throw invalid(`the events of ${this.#owner} are being read already`);
    this.#reading = true;
    let gone = false;
    const over = { value: undefined, done: true } as const;
    const leave = async (): Promise<IteratorResult<Event>> => {
      if (!gone) {
        gone = true;
        for (const asked of this.#asked.splice(0)) asked(over);
        this.#reading = false;
        left();
      }
      return over;
    };
    const next = async (): Promise<IteratorResult<Event>> => {
      if (gone) return over;
      const found = await new Promise<IteratorResult<Event>>((resolve) => {
        this.#asked.push(resolve);
        this.#serve();
      });
      return found.done ? leave() : found;
    };
    return {
      next,
      return: leave,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #serve(): void {
    while (this.#asked.length > 0) {
      const value = this.#kept.shift();
      if (value) {
        this.#asked.shift()?.({ value, done: false });
      } else if (this.#over) {
        this.#asked.shift()?.({ value: undefined, done: true });
      } else {
        return;
      }
    }
  }
}
