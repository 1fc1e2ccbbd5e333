/** Promises of the native half that can be taken back. Lives here: by a signal, or by whoever closes. */
import { Cancel } from '../native/index.js';
/** Waits for one question to the native half, unless signal or client end it before. */
export declare function bounded<T>(signal: AbortSignal | undefined, running: Set<(why: Error) => void> | undefined, ask: (cancel: Cancel) => Promise<T>, discard?: (late: T) => void): Promise<T>;
