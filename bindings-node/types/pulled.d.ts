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
export declare class Pulled<Item> implements AsyncIterableIterator<Item> {
    #private;
    constructor(owner: Owner, session: Session, cursor: Cursor<Item>);
    next(): Promise<IteratorResult<Item>>;
    return(): Promise<IteratorResult<Item>>;
    [Symbol.asyncIterator](): this;
    /** Ends it because its stream was destroyed. */
    fail(why: Error | null): void;
}
/** The lines in batches of them. */
export declare class Lines implements Cursor<Buffer | string> {
    #private;
    constructor(take: (text: boolean) => NativeLines | null, encoding: BufferEncoding | undefined);
    next(): Buffer | string | undefined;
    fetch(): boolean | null;
}
export {};
