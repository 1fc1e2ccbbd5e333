// Several logs as one: whose line is whose, who joins, who fails, who waits.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { Client } from '../index.mjs';
import { cluster, controlled, fails } from './support.mjs';

const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });
after(() => client.close());
/** What hangs has a name. */
const LIMIT = { timeout: 60_000 };

/** Makes a pod with a label, and returns what changes its log. */
async function pod(name, app, ...lines) {
  const log = controlled(kubeconfig, name);
  await log({ create: { labels: { app } } }, { write: lines.map((text) => ({ text: `${text}\n` })) });
  return log;
}

/** Reads to the end, or until `over` says so: lines and events in order, with their pods. */
async function seen(logs, over = () => false) {
  const found = [];
  const add = (source, text) => found.push(`${source.pod}/${source.container} ${text}`);
  logs.on('event', ({ source, kind, ...event }) => {
    const detail = { ended: event.exitCode, failed: event.error?.code, waiting: event.reason }[kind];
    add(source, `<${detail === undefined || detail === null ? kind : `${kind} ${detail}`}>`);
  });
  for await (const batch of logs.batches()) {
    for (const { source, data } of batch) add(source, String(data).trim());
    if (await over(found)) break;
  }
  return found;
}

test('the logs of a selector come one after the other, each with its source', LIMIT, async () => {
  await pod('turn-1', 'turn', 'c');
  await pod('turn-0', 'turn', 'a', 'b');
  const logs = await client.logs(undefined, { selector: 'app=turn' });
  assert.deepEqual(await seen(logs), [
    'turn-0/app <started>', 'turn-0/app a', 'turn-0/app b', 'turn-0/app <ended>',
    'turn-1/app <started>', 'turn-1/app c', 'turn-1/app <ended>',
  ]);
  assert.deepEqual(await logs.end, { kind: 'complete', exitCode: null });
  const { lines, bytes } = logs.report();
  assert.deepEqual([lines, bytes], [3, 6]);
});

test('all containers, all pods, all namespaces', LIMIT, async () => {
  const sources = async (target, options) => {
    const logs = await client.logs(target, { tailLines: 1, ...options });
    return [...new Set((await seen(logs)).map((text) => text.split(' ')[0]))];
  };
  assert.deepEqual(await sources('init-0', { allContainers: true }), ['init-0/setup', 'init-0/app', 'init-0/debugger']);
  assert.deepEqual((await sources('deploy/web', { allPods: true })).sort(), ['deploy-a/app', 'deploy-b/app', 'deploy-c/app']);
  const everywhere = await client.logs(undefined, { allNamespaces: true, selector: 'app=web', tailLines: 1 });
  const namespaces = new Set();
  for await (const batch of everywhere.batches()) {
    for (const { source } of batch) if (source.pod === 'web-0') namespaces.add(source.namespace);
  }
  assert.deepEqual([...namespaces].sort(), ['default', 'other']);
});

test('pods join and leave while others are followed', LIMIT, async () => {
  const one = await pod('join-0', 'join', 'one');
  const logs = await client.logs(undefined, { selector: 'app=join', follow: true });
  const steps = {
    'join-0/app one': () => pod('join-1', 'join', 'two'),
    'join-1/app two': () => controlled(kubeconfig, 'join-1')({ exit: 3 }),
    'join-1/app <ended 3>': () => one({ write: [{ text: 'three\n' }] }),
    'join-0/app three': () => one({ exit: 0 }),
  };
  const step = async (text) => {
    const next = steps[text];
    delete steps[text];
    await next?.();
  };
  logs.on('event', ({ kind, source, exitCode }) => kind === 'ended' && step(`${source.pod}/app <ended ${exitCode}>`));
  const found = await seen(logs, async (found) => {
    for (const text of [...found]) await step(text);
  });
  assert.deepEqual(found.filter((text) => text.startsWith('join-0')), [
    'join-0/app <started>', 'join-0/app one', 'join-0/app three', 'join-0/app <ended 0>',
  ]);
  assert.deepEqual(found.filter((text) => text.startsWith('join-1')), [
    'join-1/app <started>', 'join-1/app two', 'join-1/app <ended 3>',
  ]);
  assert.equal((await logs.end).kind, 'ended');
});

test('the first log that fails ends all, unless errors are ignored', LIMIT, async () => {
  await pod('fails-0', 'fails', 'x');
  // Nobody may read this one's log.
  await pod('nolog-0', 'fails', 'y');
  await pod('still-0', 'fails', 'z');
  const strict = await client.logs(undefined, { selector: 'app=fails' });
  const found = [];
  await fails(async () => {
    for await (const line of strict.lines({ encoding: 'utf8' })) found.push(line);
  }, 'forbidden');
  assert.deepEqual(found, ['x\n']);
  assert.equal((await fails(strict.end, 'forbidden')).httpStatus, 403);
  const lenient = await client.logs(undefined, { selector: 'app=fails', ignoreErrors: true });
  let failed;
  lenient.on('failed', (event) => (failed = event));
  const all = await seen(lenient);
  assert.ok(all.includes('nolog-0/app <failed forbidden>') && all.includes('still-0/app z'), all.join('\n'));
  assert.deepEqual([failed.error.name, failed.error.httpStatus], ['WsxError', 403]);
  await fails(() => client.logs(undefined, { selector: 'app=nobody' }), 'not_found');
});

test('those over the limit wait for their turn, and it is told', LIMIT, async () => {
  const first = await pod('limit-0', 'limit', 'a');
  await pod('limit-1', 'limit', 'b');
  const logs = await client.logs(undefined, { selector: 'app=limit', follow: true, maxLogRequests: 1 });
  const waiting = new Promise((told) => logs.on('waiting', told));
  const reading = seen(logs, (found) => found.includes('limit-1/app b'));
  const { source, reason } = await waiting;
  assert.equal(source.pod, 'limit-1');
  assert.match(reason, /^its turn: 1 logs/);
  await first({ exit: 0 });
  await reading;
});

test('several logs are merged by the times of their lines', LIMIT, async () => {
  const at = (second) => `2026-11-01T08:00:${String(second).padStart(2, '0')}Z`;
  for (const [nth, name] of ['sort-0', 'sort-1', 'sort-2'].entries()) {
    const log = await pod(name, 'sort');
    const seconds = Array.from({ length: 10 }, (_, index) => index * 3 + nth);
    await log({ write: seconds.map((second) => ({ ts: at(second), text: `${second}\n` })) }, { exit: 0 });
  }
  const logs = await client.logs(undefined, { selector: 'app=sort', sortWindow: 5000 });
  const lines = [];
  for await (const batch of logs.batches()) {
    lines.push(...batch.map(({ data, source, timestamp }) => [Number(data), source.pod, timestamp]));
  }
  const begin = BigInt(Date.parse(at(0))) * 1_000_000n;
  const wanted = (_, index) => [index, `sort-${index % 3}`, begin + BigInt(index) * 1_000_000_000n];
  assert.deepEqual(lines, Array.from({ length: 30 }, wanted));
  assert.equal(logs.report().late, 0);
});
