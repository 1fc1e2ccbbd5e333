// One copy of the classes for both ways of loading, so that `instanceof` holds across them.
import wsx from './dist/index.js';

export const { AbortError, Client, Logs, PortForward, Process, WsxError } = wsx;
