/** Promises of the native half that can be taken back. Lives here: by a signal, or by whoever closes. */

import { Cancel } from '../native/index.js';
import { AbortError, fromNative } from './errors.js';

/** Waits for one question to the native half, unless signal or client end it before. */
export async function bounded<T>(
  signal: AbortSignal | undefined,
  running: Set<(why: Error) => void> | undefined,
  ask: (cancel: Cancel) => Promise<T>,
  discard?: (late: T) => void,
): Promise<T> {
  if (signal?.aborted) throw new AbortError(signal.reason);
  const cancel = new Cancel();
  let ended: Error | undefined;
  const end = (why: Error): void => {
    ended ??= why;
    cancel.cancel();
  };
  const abort = (): void => end(new AbortError(signal?.reason));
  signal?.addEventListener('abort', abort, { once: true });
  running?.add(end);
  try {
    const answer = await ask(cancel);
    if (ended === undefined) return answer;
    discard?.(answer);
    throw ended;
  } catch (error) {
    throw ended ?? fromNative(error);
  } finally {
    signal?.removeEventListener('abort', abort);
    running?.delete(end);
  }
}
