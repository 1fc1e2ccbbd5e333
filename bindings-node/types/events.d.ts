/** Events that wait for who takes them. Never here: what they tell. */
/** Events that wait for being taken, bounded, by one reader at a time. */
export declare class Events<Event> {
    #private;
    /** `owner` is whose events these are; `fold` makes room, by one or more, where it can. */
    constructor(owner: string, fold: (kept: Event[]) => void);
    push(event: Event): void;
    /** Says that there will be no more. */
    end(): void;
    /** Iterates; `left` is called when the reader leaves, or is at the end. */
    open(left?: () => void): AsyncIterableIterator<Event>;
}
