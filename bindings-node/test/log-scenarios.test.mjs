// `tests/scenarios/logs.json`: every log is read as the list says, by lines, batches and chunks.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter, on, once } from 'node:events';
import { test } from 'node:test';

import { Client } from '../index.mjs';
import { bytes, controlled, ownCluster, renamed, table } from './support.mjs';

const { cases } = table('scenarios/logs.json');
/** Of one case, in milliseconds. */
const LIMIT = 15_000;

const ways = {
  lines: (logs) => logs,
  batches: async function* (logs) {
    for await (const batch of logs.batches()) yield* batch.map(({ data }) => data);
  },
  chunks: (logs) => logs.chunks(),
};

function logsOptions({ options = {} }) {
  const { timeouts, ...others } = options;
  const converted = renamed(others);
  for (const name of ['since', 'sortWindow']) if (name in converted) converted[name] *= 1000;
  if (timeouts) converted.timeouts = renamed(timeouts, (seconds) => seconds * 1000);
  return converted;
}

/** Does the steps of a case; `came` says when there is more, `data()` all of it. */
async function walk(kubeconfig, steps, came, data) {
  for (const step of steps) {
    if (step.log) {
      const [namespace, pod, container] = step.log.split('/');
      await controlled(kubeconfig, pod, container, namespace)(step.do);
    }
    if (step.await !== undefined && !data().toString().endsWith(step.await)) {
      for await (const _ of on(came, 'data')) if (data().toString().endsWith(step.await)) break;
    }
  }
}

/** What a case came to, in the words of `expect`. */
async function read(kubeconfig, given, way, signal) {
  const [events, pieces] = [[], []];
  const data = () => Buffer.concat(pieces);
  const came = new EventEmitter();
  const steps = (steps = []) => walk(kubeconfig, steps, came, data);
  await steps(given.before);
  const open = async () => {
    const client = await Client.connect({ kubeconfig, context: given.context });
    const logs = await client.logs(given.target, { ...logsOptions(given), signal });
    logs.on('event', ({ kind }) => kind !== 'waiting' && events.push(kind));
    return logs;
  };
  const collect = async (logs) => {
    for await (const piece of ways[way](logs)) {
      pieces.push(piece);
      came.emit('data');
    }
  };
  const opening = open();
  const reading = opening.then(collect).then(() => undefined, (error) => error);
  try {
    // A pod that does not exist yet is waited for while it is opened.
    await Promise.all([opening, steps(given.steps)]);
    const logs = await opening;
    if (given.close) {
      await logs.close();
      assert.equal((await reading).code, 'closed');
      return { data: data(), events };
    }
    const told = await reading;
    const { kind, exitCode } = await logs.end.catch((error) => {
      assert.equal(told, error, 'the reader was not told');
      throw error;
    });
    assert.equal(told, undefined);
    return { data: data(), events, end: kind, exit_code: exitCode ?? undefined };
  } catch (error) {
    if (error.code === 'ERR_ASSERTION') throw error;
    return { data: data(), events, kind: error.code };
  }
}

const digest = (data) => createHash('sha256').update(data).digest('hex');
const sorted = (text) => text.split('\n').sort().join('\n');

function compare({ expect, any_order: anyOrder = false }, found) {
  const { data = '', events = [], ...others } = expect;
  if (data.sha256) {
    const lines = found.data.toString('latin1').split('\n').length - 1;
    assert.deepEqual({ lines, sha256: digest(found.data) }, data);
  } else if (anyOrder) {
    assert.equal(sorted(found.data.toString()), sorted(data));
  } else {
    assert.equal(found.data.toString('latin1'), bytes(data).toString('latin1'));
  }
  const order = (kinds) => (anyOrder ? [...kinds].sort() : kinds);
  assert.deepEqual(order(found.events), order(events));
  const { data: _, events: __, ...rest } = JSON.parse(JSON.stringify(found));
  assert.deepEqual(rest, others);
}

test('every log is read as the list says', { timeout: 300_000 }, async () => {
  const todo = cases.flatMap((given) => Object.keys(ways).map((way) => [given, way]));
  const wrong = [];
  const work = async () => {
    for (let next; (next = todo.shift()); ) {
      const [given, way] = next;
      const { kubeconfig, leave } = await ownCluster();
      const signal = AbortSignal.timeout(LIMIT);
      const late = once(signal, 'abort').then(() => assert.fail(`takes more than ${LIMIT} ms`));
      try {
        compare(given, await Promise.race([read(kubeconfig, given, way, signal), late]));
      } catch (error) {
        wrong.push(`${given.name}, ${way}: ${error.message}`);
      } finally {
        await leave();
      }
    }
  };
  await Promise.all(Array.from({ length: 6 }, work));
  assert.deepEqual(wrong, []);
});

test('every difference is noticed', () => {
  const found = { data: Buffer.from('a\nb\n'), events: ['gap', 'restarted'], end: 'ended', exit_code: 0 };
  const expect = { data: 'a\nb\n', events: ['gap', 'restarted'], end: 'ended', exit_code: 0 };
  compare({ expect }, found);
  compare({ expect: { ...expect, data: { hex: '610a620a' } } }, found);
  compare({ expect: { ...expect, data: { lines: 2, sha256: digest('a\nb\n') } } }, found);
  compare({ any_order: true, expect: { ...expect, data: 'b\na\n', events: ['restarted', 'gap'] } }, found);
  for (const change of [
    { data: 'b\na\n' }, { data: 'a\nb' }, { data: { hex: '61' } }, { data: { lines: 3, sha256: digest('a\nb\n') } },
    { events: ['restarted', 'gap'] }, { events: ['gap'] }, { events: undefined }, { data: undefined },
    { end: 'complete' }, { end: undefined }, { exit_code: 1 }, { exit_code: undefined }, { kind: 'lost' }, { bogus: 1 },
  ]) {
    const other = JSON.parse(JSON.stringify({ ...expect, ...change }));
    assert.throws(() => compare({ expect: other }, found), JSON.stringify(change));
  }
});
