/** The errors of this package. Lives here: their classes, and how native errors become them. */
/** What went wrong, in one word that is the same in all languages. */
export type ErrorCode = 'auth' | 'closed' | 'config' | 'exit' | 'forbidden' | 'internal' | 'invalid' | 'local_io' | 'lost' | 'not_found' | 'not_started' | 'protocol' | 'timeout' | 'unsupported' | 'upgrade';
/** What an error may carry besides code and message; absent where it is not known. */
export interface ErrorFacts {
    why?: string;
    remedies?: readonly string[];
    mayHaveStarted?: boolean;
    httpStatus?: number;
    reason?: string;
    closeCode?: number;
    stdoutBytes?: number;
    stderrBytes?: number;
    stdout?: Buffer | string;
    stderr?: Buffer | string;
    exitCode?: number;
    cause?: unknown;
}
/** Everything that can fail here, but for what the caller aborted. Branch on `code`. */
export declare class WsxError extends Error {
    readonly name = "WsxError";
    /** What to branch on. */
    readonly code: ErrorCode;
    /** The reason, for people. */
    readonly why?: string;
    /** What to try next, for people. */
    readonly remedies: readonly string[];
    /** Whether the command may have run although there is an error. */
    readonly mayHaveStarted: boolean;
    /** Status of the HTTP answer that refused. */
    readonly httpStatus?: number;
    /** Reason of a Kubernetes `Status`, such as `NotFound`. */
    readonly reason?: string;
    /** Code of the server's WebSocket Close frame. */
    readonly closeCode?: number;
    /** Bytes of output that were received. */
    readonly stdoutBytes?: number;
    /** Bytes of error output that were received. */
    readonly stderrBytes?: number;
    /** With `run`: the output so far. */
    readonly stdout?: Buffer | string;
    /** With `run`: the error output so far. */
    readonly stderr?: Buffer | string;
    /** With code `exit`: the exit code of the command. */
    readonly exitCode?: number;
    constructor(code: ErrorCode, message: string, facts?: ErrorFacts);
}
/** The caller's own wish, by an `AbortSignal` or `abort()`; `cause` is its reason. */
export declare class AbortError extends Error {
    readonly name = "AbortError";
    readonly code = "ABORT_ERR";
    constructor(reason: unknown);
}
/** Makes the error of a caller's mistake. */
export declare function invalid(message: string, remedy?: string): WsxError;
/** Reads the JSON in which the native half describes an error; its flags become the options of here. */
export declare function parsed(text: string, more?: ErrorFacts): WsxError;
/** Makes a `WsxError` of whatever the native half has thrown. */
export declare function fromNative(error: unknown): Error;
