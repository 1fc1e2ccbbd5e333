// `tests/scenarios/process.json` and `attach.json`: every process ends as the list says, by its streams
// and by `run`.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';

import { Client } from '../index.mjs';
import { bytes, cluster, fixture, ownCluster, renamed, root, table } from './support.mjs';

const LIMIT = 8000;
const [processes, attached] = ['process', 'attach'].map((name) => table(`scenarios/${name}.json`).cases);

function sessionOptions({ options = {} }) {
  const { size, timeouts, ...others } = options;
  const converted = renamed(others);
  if (size) converted.size = { columns: size[0], rows: size[1] };
  if (timeouts) converted.timeouts = renamed(timeouts, (seconds) => seconds * 1000);
  return converted;
}

const digest = (data) => ({
  bytes: data.length,
  sha256: createHash('sha256').update(data).digest('hex'),
});

/** What both ways to run a command came to, in the words of `expect`. */
const facts = (error, status, output, more) => ({
  ...output,
  code: status?.code,
  confidence: status?.confidence,
  kind: error?.code,
  close_code: error?.closeCode,
  http_status: error?.httpStatus,
  reason: error?.reason,
  ...more,
});

async function byExec(client, given) {
  const output = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  let [error, status, protocol, hasTerminal] = [];
  const collect = async (name, stream) => {
    const chunks = [];
    try {
      for await (const chunk of stream ?? []) chunks.push(chunk);
    } finally {
      output[name] = Buffer.concat(chunks);
    }
  };
  try {
    const stdin = given.input !== undefined;
    const options = { ...sessionOptions(given), stdin };
    const process =
      given.verb === 'attach'
        ? await client.attach(given.target, options)
        : await client.exec(given.target, given.command, options);
    ({ protocol, hasTerminal } = process);
    assert.equal(process.stderr === null, hasTerminal || options.stderr === false);
    const feed = async () => stdin && pipeline([bytes(given.input)], process.stdin);
    const all = await Promise.allSettled([
      collect('stdout', process.stdout),
      collect('stderr', process.stderr),
      feed(),
    ]);
    try {
      status = await process.exit;
      // Output ends cleanly where there is a status, and only there.
      assert.deepEqual(all.slice(0, 2).map(({ status }) => status), ['fulfilled', 'fulfilled']);
    } catch (failure) {
      error = failure;
      const wanted = [process.stdout, process.stderr].filter(Boolean).length;
      const told = all.slice(0, 2).filter(({ reason }) => reason === failure).length;
      assert.equal(told, wanted, `the streams were not told: ${failure}`);
    }
  } catch (failure) {
    if (failure.code === 'ERR_ASSERTION') throw failure;
    error ??= failure;
  }
  return facts(error, status, output, { protocol, has_terminal: hasTerminal });
}

async function byRun(client, given) {
  const input = given.input === undefined ? {} : { input: bytes(given.input) };
  try {
    const done = await client.run(given.target, given.command, { ...sessionOptions(given), ...input });
    return facts(undefined, done.status, { stdout: done.stdout, stderr: done.stderr });
  } catch (error) {
    const { stdout = Buffer.alloc(0), stderr = Buffer.alloc(0) } = error;
    return facts(error, undefined, { stdout, stderr });
  }
}

async function runCase(kubeconfig, given, way) {
  let client;
  try {
    const { context } = given;
    client = await Client.connect({ kubeconfig, context, ...renamed(given.connect) });
  } catch (error) {
    return facts(error, undefined, { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) });
  }
  return way(client, given);
}

/** What `expect` may name: what nobody compares must not stand there. */
const FACTS = ['stdout', 'stderr', 'code', 'kind', 'confidence', 'close_code', 'http_status', 'reason', 'protocol', 'has_terminal'];

function compare({ expect }, found) {
  assert.deepEqual(Object.keys(expect).filter((name) => !FACTS.includes(name)), [], 'nobody compares it');
  for (const name of ['stdout', 'stderr']) {
    const wanted = expect[name] === undefined ? '' : expect[name];
    if (wanted === null) continue;
    const start = found[name].subarray(0, 200);
    if (wanted.begin !== undefined) {
      const begin = bytes(wanted.begin);
      assert.deepEqual(digest(found[name].subarray(0, begin.length)), digest(begin), `${name}: ${start}`);
      continue;
    }
    assert.deepEqual(digest(found[name]), wanted.sha256 ? wanted : digest(bytes(wanted)), `${name}: ${start}`);
  }
  for (const name of ['code', 'kind']) assert.equal(found[name], expect[name], name);
  for (const name of ['confidence', 'close_code', 'http_status', 'reason', 'protocol', 'has_terminal']) {
    if (expect[name] !== undefined && name in found) assert.equal(found[name], expect[name], name);
  }
}

async function one(enter, given, way) {
  const { kubeconfig, leave } = await enter();
  const begin = Date.now();
  try {
    compare(given, await runCase(kubeconfig, given, way));
  } finally {
    await leave?.();
  }
  const took = Date.now() - begin;
  assert.ok(took < LIMIT, `took ${took} ms`);
}

/** Runs these cases, each way in a cluster that `enter` leads to. */
async function lane(enter, cases, context) {
  const todo = [];
  for (const listed of cases) {
    const command = listed.command?.map((word) => bytes(word).toString());
    const given = { context, ...listed, command };
    todo.push([given, byExec]);
    // `run` has no terminal, always takes both outputs, and runs a command.
    const { options = {} } = given;
    if (command && !['tty', 'size', 'stdout', 'stderr'].some((name) => name in options)) todo.push([given, byRun]);
  }
  const wrong = [];
  const work = async () => {
    for (let next; (next = todo.shift()); ) {
      const [given, way] = next;
      await one(enter, given, way).catch((error) => {
        wrong.push(`${given.name}, ${way.name}: ${error.message}`);
      });
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  assert.deepEqual(wrong, []);
}

const meant = (kind) => processes.filter(({ only }) => !only || only === kind);

test('every process ends as the list says', async () => {
  const kubeconfig = await cluster();
  await lane(() => ({ kubeconfig }), meant('embedded'));
});

test('every attach ends as the list says', async () => {
  await lane(ownCluster, attached);
});

test('every difference is noticed', () => {
  const nothing = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  compare({ expect: { code: 0 } }, { ...nothing, code: 0 });
  for (const [expect, found] of [
    [{ code: 0 }, { code: 1 }],
    [{ code: 0 }, { kind: 'lost' }],
    [{ kind: 'lost' }, { code: 0 }],
    [{ kind: 'lost' }, { kind: 'timeout' }],
    [{ code: 0 }, { code: 0, stdout: Buffer.from('out') }],
    [{ code: 0, stderr: 'err' }, { code: 0 }],
    [{ code: 0, stdout: { begin: 'tick 1' } }, { code: 0, stdout: Buffer.from('tick') }],
    [{ code: 0, protocol: 'a' }, { code: 0, protocol: 'b' }],
    [{ code: 0, bogus: 1 }, { code: 0, bogus: 1 }],
  ]) {
    assert.throws(() => compare({ expect }, { ...nothing, ...found }), JSON.stringify(expect));
  }
});

const real = `${process.env.WSX_REAL_BIN ?? `${root}/tests/real/bin`}/wsx-real`;
const missing = !existsSync(real) && 'the real Kubernetes is not built (needs Go; `make judge` builds it)';
test('every process ends as the list says on real Kubernetes', { skip: missing }, async () => {
  const kubeconfig = await fixture(real);
  await lane(() => ({ kubeconfig }), meant('real'), 'full');
});

test('ports lead to a pod of real Kubernetes, with a local socket and without', { skip: missing }, async () => {
  const client = await Client.connect({ kubeconfig: await fixture(real) });
  try {
    const forward = await client.portForward('svc/web', [':80'], { address: ['127.0.0.1'] });
    const [{ target, remote, local }] = forward.localPorts;
    assert.deepEqual([target, remote], ['service/web', 8080]);
    assert.match(await (await fetch(`http://127.0.0.1:${local}/`)).text(), /^server-[01]\n$/);
    const socket = await forward.open(80);
    socket.write('GET /bytes?n=3000000 HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n');
    const answer = await buffer(socket);
    assert.equal(answer.length - answer.indexOf('\r\n\r\n') - 4, 3_000_000);
    const { failed, protocol } = forward.report();
    assert.deepEqual([failed, protocol], [0, 'SPDY/3.1+portforward.k8s.io']);
    await forward.close();
    await assert.rejects(fetch(`http://127.0.0.1:${local}/`));
    const refused = await client.portForward('server-0', [9], { address: [] });
    await assert.rejects(buffer(await refused.open()), { code: 'not_started' });
  } finally {
    await client.close();
  }
});
