/** The errors of this package. Lives here: their classes, and how native errors become them. */

/** What went wrong, in one word that is the same in all languages. */
export type ErrorCode =
  | 'auth'
  | 'closed'
  | 'config'
  | 'exit'
  | 'forbidden'
  | 'internal'
  | 'invalid'
  | 'local_io'
  | 'lost'
  | 'not_found'
  | 'not_started'
  | 'protocol'
  | 'timeout'
  | 'unsupported'
  | 'upgrade';

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
export class WsxError extends Error {
  override readonly name = 'WsxError';
  /** What to branch on. */
  readonly code: ErrorCode;
  /** The reason, for people. */
  declare readonly why?: string;
  /** What to try next, for people. */
  readonly remedies: readonly string[];
  /** Whether the command may have run although there is an error. */
  readonly mayHaveStarted: boolean;
  /** Status of the HTTP answer that refused. */
  declare readonly httpStatus?: number;
  /** Reason of a Kubernetes `Status`, such as `NotFound`. */
  declare readonly reason?: string;
  /** Code of the server's WebSocket Close frame. */
  declare readonly closeCode?: number;
  /** Bytes of output that were received. */
  declare readonly stdoutBytes?: number;
  /** Bytes of error output that were received. */
  declare readonly stderrBytes?: number;
  /** With `run`: the output so far. */
  declare readonly stdout?: Buffer | string;
  /** With `run`: the error output so far. */
  declare readonly stderr?: Buffer | string;
  /** With code `exit`: the exit code of the command. */
  declare readonly exitCode?: number;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    const { cause, remedies = [], mayHaveStarted = false, ...others } = facts;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedies = remedies;
    this.mayHaveStarted = mayHaveStarted;
    Object.assign(this, others);
  }
}

/** The caller's own wish, by an `AbortSignal` or `abort()`; `cause` is its reason. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
  readonly code = 'ABORT_ERR';

  constructor(reason: unknown) {
    super('The operation was aborted', { cause: reason });
  }
}

/** Makes the error of a caller's mistake. */
export function invalid(message: string, remedy?: string): WsxError {
  return new WsxError('invalid', message, { remedies: remedy === undefined ? [] : [remedy] });
}

/** Reads the JSON in which the native half describes an error; its flags become the options of here. */
export function parsed(text: string, more: ErrorFacts = {}): WsxError {
  const { code, message, ...facts } = JSON.parse(text) as ErrorFacts & {
    code: ErrorCode;
    message: string;
  };
  if (facts.why !== undefined) facts.why = limited(facts.why);
  if (facts.remedies) facts.remedies = facts.remedies.map(hint);
  return new WsxError(code, limited(message), { ...facts, ...more });
}

/** The flags of what is in `timeouts`. */
const TIMEOUTS: Record<string, string> = {
  connectTimeout: 'connect',
  keepaliveTimeout: 'keepaliveTimeout',
  podRunningTimeout: 'podRunning',
  stallTimeout: 'stall',
};

function camel(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Names the option where the core names the flag of a limit that was reached, as `(--connect-timeout)`. */
function limited(text: string): string {
  return text.replace(/\(--([a-z]+(?:-[a-z]+)*)\)/g, (_, flag: string) => {
    const name = camel(flag);
    return TIMEOUTS[name] ? `(timeouts.${TIMEOUTS[name]})` : `(${name})`;
  });
}

/** Says what to try with an option instead of a flag, as `--no-preflight`, `--verify=never`, `--kubeconfig FILE`. */
function hint(remedy: string): string {
  if (remedy.startsWith('kubectl ')) return remedy; // a command line
  const flags = /(?<!\S)--(no-)?([a-z]+(?:-[a-z]+)*)(?:[ =](\w+))?/g;
  const option = (_: string, no: string | undefined, flag: string, value: string | undefined): string => {
    if (no) return `${camel(flag)}: false`;
    if (value === undefined) return camel(flag);
    const plain = value === value.toUpperCase() || value === 'false' || value === 'true';
    return `${camel(flag)}: ${plain ? value : `'${value}'`}`;
  };
  const words = remedy
    .replace('-c CONTAINER --', 'container: CONTAINER, --')
    .replace('-c CONTAINER', 'container: CONTAINER');
  return words.replace(flags, option);
}

/** Makes a `WsxError` of whatever the native half has thrown. */
export function fromNative(error: unknown): Error {
  if (error instanceof WsxError || error instanceof AbortError) return error;
  const { message, code } = error as Error & { code?: string };
  if (message.startsWith('{')) return parsed(message);
  // Its words for an argument of the wrong type: "Failed to convert … into rust type …".
  const mistaken = code === 'InvalidArg' || code?.endsWith('Expected');
  return mistaken
    ? new WsxError('invalid', message, { cause: error })
    : new WsxError('internal', message, { cause: error, mayHaveStarted: true });
}
