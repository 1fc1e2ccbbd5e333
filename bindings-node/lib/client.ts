/** A cluster that can be entered. Lives here: connecting, starting, running, aborting. */

import {
  type Cancel,
  NativeClient,
  type SessionOptions as NativeSessionOptions,
  connect as nativeConnect,
} from '../native/index.js';
import { bounded } from './bounded.js';
import { WsxError, invalid, parsed } from './errors.js';
import { PortForward } from './forward.js';
import {
  checkCommand,
  checkOptions,
  checkPorts,
  checkSignal,
  checkTarget,
  type AttachOptions,
  type ConnectOptions,
  type ExecOptions,
  type LogsOptions,
  type Notice,
  type PortForwardOptions,
  type RunOptions,
} from './options.js';
import { Logs } from './logs.js';
import { Process, type ExitStatus } from './process.js';

/** What `Client.from` needs of a `KubeConfig` of `@kubernetes/client-node`. */
export interface KubeConfigLike {
  /** Returns the kubeconfig as YAML or JSON. */
  exportConfig(): string;
}

/** A command that has ended. `Data` is `string` where an encoding was given, else `Buffer`. */
export interface CompletedProcess<Data = Buffer> {
  /** The command that ran. */
  readonly args: readonly string[];
  /** Its exit code. */
  readonly exitCode: number;
  /** Its output. */
  readonly stdout: Data;
  /** Its error output. */
  readonly stderr: Data;
  /** Its exit code, and how sure it is. */
  readonly status: ExitStatus;
}

/** A cluster that can be entered. Safe to share; `close` it to end all that it has started. */
export class Client implements AsyncDisposable {
  readonly #native: NativeClient;
  /** What is under way, each with its way to be ended. */
  readonly #running = new Set<(why: Error) => void>();
  #closed = false;

  private constructor(native: NativeClient) {
    if (!(native instanceof NativeClient)) throw invalid('use Client.connect or Client.from');
    this.#native = native;
  }

  /**
   * Loads the kubeconfig; nothing is sent yet.
   *
   * @throws {WsxError} `config` when the kubeconfig or the options cannot be used.
   */
  static async connect(options: ConnectOptions = {}): Promise<Client> {
    return Client.#connect(options);
  }

  /**
   * Takes the configuration that the official client already holds. Credentials stay in memory.
   *
   * @throws {WsxError} as `connect`.
   */
  static async from(
    kubeConfig: KubeConfigLike,
    options: Omit<ConnectOptions, 'kubeconfig'> = {},
  ): Promise<Client> {
    if (typeof kubeConfig?.exportConfig !== 'function') {
      throw invalid('this is no KubeConfig: it has no exportConfig()');
    }
    return Client.#connect(options, kubeConfig.exportConfig());
  }

  static async #connect(options: ConnectOptions, kubeconfigText?: string): Promise<Client> {
    checkOptions('connect', options);
    const { signal, onNotice, ...rest } = options;
    if (onNotice !== undefined && typeof onNotice !== 'function') {
      throw invalid('onNotice is no function');
    }
    const tell = onNotice && ((notice: unknown) => onNotice(notice as Notice));
    const native = await bounded(signal, undefined, (cancel) =>
      nativeConnect({ ...rest, kubeconfigText }, tell, cancel),
    );
    return new Client(native);
  }

  /** The namespace where none is named. */
  get namespace(): string {
    return this.#native.namespace;
  }

  /** Asks the server for its version, such as `v1.35.0`. */
  async version(options: { signal?: AbortSignal } = {}): Promise<string> {
    this.#open();
    checkSignal(options.signal);
    return bounded(options.signal, this.#running, (cancel) => this.#native.version(cancel));
  }

  /**
   * Starts a command in a container of `POD` or `TYPE/NAME`. It is sent at most once. Read both
   * outputs, or `resume()` what you do not want: one connection carries them, as with a local pipe.
   *
   * @throws {WsxError} `mayHaveStarted` tells whether the command certainly did not run.
   * @throws {AbortError} when the signal was aborted; the same signal ends the session later on.
   */
  async exec(target: string, command: readonly string[], options: ExecOptions = {}): Promise<Process> {
    this.#open();
    checkTarget(target);
    checkCommand(command);
    checkOptions('exec', options);
    const session = sessionOptions(options);
    const native = await this.#begin(options, (cancel) =>
      this.#native.exec(target, command as string[], session, cancel),
    );
    return this.#own(new Process(native, options, this.#running));
  }

  /**
   * Joins the main process of a container of `POD` or `TYPE/NAME`: its output from now on, and its
   * input where it has one. Its exit status is the container's own; a stream that ends while the
   * container runs on is `lost`. The terminal is the container's, whatever `tty` says: `hasTerminal`
   * tells.
   *
   * @throws {WsxError} as `exec`; `invalid` when input is wanted of a container made without.
   * @throws {AbortError} when the signal was aborted; the same signal ends the session later on.
   */
  async attach(target: string, options: AttachOptions = {}): Promise<Process> {
    this.#open();
    checkTarget(target);
    checkOptions('attach', options);
    const session = sessionOptions(options);
    const native = await this.#begin(options, (cancel) =>
      this.#native.attach(target, session, cancel),
    );
    return this.#own(new Process(native, options, this.#running));
  }

  /**
   * Reads the log of a container of `POD` or `TYPE/NAME`. With `follow` it goes on over cuts, restarts
   * and outages: no line is repeated, and none is missing without a `gap`.
   *
   * @throws {WsxError} `invalid`, `not_found`, `forbidden` … as the server says of the pod; what is wrong
   * with the log itself its `end` and its reader tell.
   * @throws {AbortError} when the signal was aborted; the same signal ends the log later on.
   */
  async logs(target: string | undefined, options: LogsOptions = {}): Promise<Logs> {
    this.#open();
    if (target !== undefined) checkTarget(target);
    checkOptions('logs', options);
    const { signal, sinceTime, ...rest } = options;
    const asked = { ...rest, sinceTime: pointInTime(sinceTime) };
    const native = await this.#begin(options, (cancel) => this.#native.logs(target, asked, cancel));
    return this.#own(new Logs(native, options, this.#running));
  }

  /**
   * Forwards local ports to ports of `POD` or `TYPE/NAME`, each `[LOCAL:]REMOTE` as kubectl writes them:
   * `'8080:80'`, `':http'`, `80`. It goes on until it is closed: lost sessions and pods are replaced, and
   * the local ports stay. With `address: []` nothing is listened on, and connections come from `open()`.
   *
   * @throws {WsxError} `invalid`, `not_found`, `forbidden` … as the server says of target and ports,
   * `not_started` when no pod may be used in time, `local_io` when a port cannot be listened on.
   * @throws {AbortError} when the signal was aborted; the same signal ends the port-forward later on.
   */
  async portForward(
    target: string,
    ports: ReadonlyArray<number | string>,
    options: PortForwardOptions = {},
  ): Promise<PortForward> {
    this.#open();
    checkTarget(target);
    checkPorts(ports);
    checkOptions('portForward', options);
    const { signal, ...asked } = options;
    const texts = ports.map(String);
    const native = await this.#begin(options, (cancel) =>
      this.#native.portForward(target, texts, asked, cancel),
    );
    return this.#own(new PortForward(native, texts, options, this.#running));
  }

  /**
   * Runs a command to its end and gives back all of its output.
   *
   * @throws {WsxError} as `exec`; what is known only later carries the output so far. `exit` with
   * `check`, `closed` beyond `maxOutput`, `timeout`.
   * @throws {AbortError} when the signal was aborted.
   */
  async run(
    target: string,
    command: readonly string[],
    options: RunOptions & { encoding: BufferEncoding },
  ): Promise<CompletedProcess<string>>;
  async run(
    target: string,
    command: readonly string[],
    options?: RunOptions & { encoding?: undefined },
  ): Promise<CompletedProcess>;
  async run(
    target: string,
    command: readonly string[],
    options?: RunOptions,
  ): Promise<CompletedProcess<Buffer | string>>;
  async run(
    target: string,
    command: readonly string[],
    options: RunOptions = {},
  ): Promise<CompletedProcess<Buffer | string>> {
    this.#open();
    checkTarget(target);
    checkCommand(command);
    checkOptions('run', options);
    const { signal, input, check, timeout, encoding, maxOutput, timeouts, ...rest } = options;
    if (encoding !== undefined && !Buffer.isEncoding(encoding)) {
      throw invalid(`encoding ${String(encoding)} is not known`);
    }
    const session = { ...rest, timeouts: { ...timeouts, total: timeout ?? timeouts?.total } };
    const args = [...command];
    const ended = await bounded(signal, this.#running, (cancel) =>
      this.#native.run(target, args, session, bytes(input), maxOutput, cancel),
    );
    const decode = (data: Buffer) => (encoding === undefined ? data : data.toString(encoding));
    const output = { stdout: decode(ended.stdout), stderr: decode(ended.stderr) };
    if (ended.error !== undefined) throw parsed(ended.error, output);
    const status = { code: ended.code, confidence: ended.confidence } as ExitStatus;
    if (check && status.code !== 0) {
      throw new WsxError('exit', `the command ended with exit code ${status.code}`, {
        ...output,
        exitCode: status.code,
        mayHaveStarted: true,
        stdoutBytes: ended.stdout.length,
        stderrBytes: ended.stderr.length,
      });
    }
    return { args, exitCode: status.code, ...output, status };
  }

  /** Ends all that this client has started, and refuses more. */
  async close(): Promise<void> {
    this.#closed = true;
    const why = closed();
    for (const end of this.#running) end(why);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Asks for something that runs on, and closes it where the answer comes too late. */
  #begin<Native extends { close(): void }>(
    { signal }: { signal?: AbortSignal },
    ask: (cancel: Cancel) => Promise<Native>,
  ): Promise<Native> {
    return bounded(signal, this.#running, ask, (late) => late.close());
  }

  /** Ends what began between the answer and the end of this client. */
  async #own<Begun extends { close(): Promise<void> }>(begun: Begun): Promise<Begun> {
    if (this.#closed) await begun.close();
    this.#open();
    return begun;
  }

  #open(): void {
    if (this.#closed) throw closed();
  }
}

function closed(): WsxError {
  return new WsxError('closed', 'the client is closed');
}

function sessionOptions({ signal, size, ...rest }: ExecOptions): NativeSessionOptions {
  // A tty.WriteStream is more than its size.
  return { ...rest, size: size && { columns: size.columns, rows: size.rows } };
}

function pointInTime(time: string | Date | undefined): string | undefined {
  if (!(time instanceof Date)) return time;
  if (Number.isNaN(time.getTime())) throw invalid('sinceTime is no point in time');
  return time.toISOString();
}

function bytes(input: string | Uint8Array | undefined): Uint8Array | undefined {
  if (input === undefined || input instanceof Uint8Array) return input;
  if (typeof input === 'string') return Buffer.from(input);
  throw invalid('the input is neither text nor bytes', 'exec() has a stdin to pipe a stream into');
}
