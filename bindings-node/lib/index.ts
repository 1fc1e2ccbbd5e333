/** `kubectl-wsx`: commands in Kubernetes pods, with back-pressure and a true exit status. */

export { Client } from './client.js';
export type { CompletedProcess, KubeConfigLike } from './client.js';
export { AbortError, WsxError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type {
  AttachOptions,
  ConnectOptions,
  ExecOptions,
  Notice,
  RunOptions,
  TerminalSize,
  Timeouts,
} from './options.js';
export { Process } from './process.js';
export type { ExitStatus, TerminalLike } from './process.js';
export type { Input, Output } from './streams.js';
