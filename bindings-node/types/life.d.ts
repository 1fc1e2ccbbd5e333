/** What the parts of a running thing share. Lives here: from the first wake-up to how it ended. */
/** What streams need of the running thing that they belong to. */
export interface Session {
    /** Whether a failure needs no telling: somebody looks at the end, or it was ended from here. */
    readonly told: boolean;
    /** Has `wake` called once, when something has changed; while `pinned`, the program does not end. */
    wait(key: unknown, wake: () => void, pinned: boolean): void;
    /** Takes that back. */
    forget(key: unknown): void;
    /** Calls when the end is known, with what went wrong instead. */
    after(then: (failure: Error | null) => void, pinned?: boolean): void;
    /** Closes the session because a stream was left. */
    close(): void;
}
/** A native half: a bell to listen to, and an end to ask for. */
interface Native {
    listen(callback: () => void): void;
    heard(): void;
    close(): void;
    /** Nothing while it runs; the bell rings when that may have changed. Throws why there is no end. */
    status(): object | null;
}
/** A stream that fails when the session is ended from here. */
interface Leaver {
    leave(why: Error): void;
}
/**
 * What the parts of a running thing share. The native half calls back when something has changed; until
 * the end is known it keeps all of this alive, afterwards only its users do.
 */
export declare class Life<Half extends Native, Status> implements Session {
    #private;
    readonly native: Half;
    status: Status | null;
    constructor(native: Half, signal: AbortSignal | undefined, running: Set<(why: Error) => void>);
    begin(streams: Array<Leaver | null>): void;
    get told(): boolean;
    watched(): Promise<Status>;
    wait(key: unknown, wake: () => void, pinned: boolean): void;
    forget(key: unknown): void;
    after(then: (failure: Error | null) => void, pinned?: boolean): void;
    /** Ends the session from here; what was known before stays. */
    readonly end: (why: Error) => void;
    close(): void;
}
/** Lets what a listener has thrown end the program, or reach its handler, but nothing of ours. */
export declare function thrown(error: unknown): void;
/** Keeps the program alive, and who waits, until the returned function is called. */
export declare function pin(owner: unknown): () => void;
export {};
