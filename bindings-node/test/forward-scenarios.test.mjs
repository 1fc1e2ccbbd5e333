// `tests/scenarios/forward.json`: every port-forward is what the list says, by local sockets and without any.

import assert from 'node:assert/strict';
import { EventEmitter, on, once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';

import { Client } from '../index.mjs';
import { bytes, forwarded, ownCluster, renamed, table } from './support.mjs';

const { cases } = table('scenarios/forward.json');
/** Of one case, in milliseconds. */
const LIMIT = 30_000;

function meant(data) {
  if (data?.pattern === undefined) return bytes(data);
  const words = BigUint64Array.from({ length: Math.ceil(data.pattern / 8) }, (_, index) => BigInt(index));
  return Buffer.from(words.buffer).subarray(0, data.pattern);
}

function forwardOptions({ options = {} }) {
  const { timeouts, hold, wait, ...others } = options;
  const converted = { address: ['127.0.0.1'], ...renamed(others) };
  for (const [name, seconds] of Object.entries({ hold, wait })) if (seconds !== undefined) converted[name] = seconds * 1000;
  if (timeouts) converted.timeouts = renamed(timeouts, (seconds) => seconds * 1000);
  return converted;
}

const ways = {
  // What is written waits until it is connected; and a reset may come at once.
  local: (forward, port) => net.connect(forward.localPorts[port].local, '127.0.0.1'),
  open: (forward, port, ports) => forward.open(ports[port].split(':').pop()),
};

/** A connection of a case: what comes is kept until it is asked for. */
class Connection extends EventEmitter {
  came = Buffer.alloc(0);
  #over;

  constructor(socket) {
    super();
    this.socket = socket;
    const over = (how) => {
      this.#over ??= how;
      this.emit('change');
    };
    socket.on('data', (data) => {
      this.came = Buffer.concat([this.came, data]);
      this.emit('change');
    });
    socket.on('end', () => over({ is: 'fin' }));
    socket.on('error', ({ code }) => over({ is: 'reset', kind: code }));
  }

  async read(wanted) {
    while (this.came.length < wanted.length) {
      assert.ok(!this.#over, `${this.#over?.is} after ${this.came.length} bytes`);
      await once(this, 'change');
    }
    assert.ok(this.came.subarray(0, wanted.length).equals(wanted), 'other data');
    this.came = this.came.subarray(wanted.length);
  }

  /** Waits for the end, and tells how it was. */
  async rest() {
    while (!this.#over) await once(this, 'change');
    return this.#over;
  }
}

/** Does the steps of a case with its forward. */
async function walk(forward, kubeconfig, given, way, signal) {
  const connections = new Map();
  const closed = on(forward, 'closed', { signal });
  const events = on(forward, 'event', { signal });
  for (const step of given.steps ?? []) {
    const connection = (name) => connections.get(name) ?? assert.fail(`no connection ${name}`);
    if (step.pod) await operate(kubeconfig, step);
    else if (step.event) for await (const [{ kind }] of events) {
      if (kind === step.event) break;
    }
    else if (step.open) connections.set(step.open, new Connection(await ways[way](forward, step.port, given.ports)));
    else if (step.send) connection(step.send).socket.write(meant(step.data));
    else if (step.read) await connection(step.read).read(meant(step.data));
    else if (step.end) connection(step.end).socket.end();
    else if (step.drop) connection(step.drop).socket.destroy();
    else if (step.rest) {
      const { is, kind } = await connection(step.rest).rest();
      const { came } = connection(step.rest);
      assert.equal(is, step.is);
      if (step.data !== null) assert.ok(came.equals(meant(step.data)), `${came.length} bytes`);
      if (step.kind) {
        const { value } = await closed.next();
        assert.equal(value[0].error?.code, step.kind);
        if (way === 'open') assert.equal(kind, step.kind);
      }
    } else assert.fail(`unknown step ${JSON.stringify(step)}`);
  }
}

async function operate(kubeconfig, { pod, do: operation }) {
  const [namespace, name] = pod.split('/');
  await forwarded(kubeconfig, name, namespace)(operation);
}

/** What a case came to, in the words of `expect`. */
async function run(kubeconfig, given, way, signal) {
  for (const operation of given.before ?? []) await operate(kubeconfig, operation);
  const client = await Client.connect({ kubeconfig, context: given.context });
  const events = [];
  let forward;
  try {
    forward = await client.portForward(given.target, given.ports, { ...forwardOptions(given), signal });
    forward.on('event', ({ kind }) => ['opened', 'closed'].includes(kind) || events.push(kind));
  } catch (error) {
    if (error.name === 'WsxError') return { kind: error.code };
    throw error;
  }
  const remotes = forward.localPorts.map(({ remote }) => remote);
  await walk(forward, kubeconfig, given, way, signal);
  if (given.expect.ends === undefined) await forward.close();
  const ends = await forward.wait().then(() => undefined, ({ code }) => code);
  return { remotes, events, ends };
}

function compare({ kind, events = ['ready'], ...others }, found) {
  const wanted = kind === undefined ? { events, ...others } : { kind, ...others };
  assert.deepEqual(JSON.parse(JSON.stringify(found)), wanted);
}

async function lane(given, way, make) {
  const { kubeconfig, leave } = await make();
  const control = new AbortController();
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`takes more than ${LIMIT} ms`)), LIMIT).unref());
  try {
    compare(given.expect, await Promise.race([run(kubeconfig, given, way, control.signal), late]));
    return [];
  } catch (error) {
    return [`${given.name}, ${way}: ${error.message}`];
  } finally {
    control.abort();
    await leave();
  }
}

/** Whether a case is about connections, and may be done without local ones. */
const opens = ({ open = true, steps = [] }) => open && steps.some((step) => step.open);

test('every port-forward is what the list says', { timeout: 400_000 }, async () => {
  const all = cases.flatMap((given) => Object.keys(ways).map((way) => [given, way]));
  const wanted = all.filter(([given, way]) => way === 'local' || opens(given));
  assert.ok(wanted.length > cases.length);
  const wrong = [];
  const work = async () => {
    for (let next; (next = wanted.shift()); ) wrong.push(...(await lane(...next, ownCluster)));
  };
  await Promise.all(Array.from({ length: 4 }, work));
  assert.deepEqual(wrong, []);
});

test('every difference is noticed', () => {
  const found = { remotes: [7], events: ['ready', 'reconnecting'], ends: 'lost' };
  const expect = { remotes: [7], events: ['ready', 'reconnecting'], ends: 'lost' };
  compare(expect, found);
  compare({ remotes: [7] }, { remotes: [7], events: ['ready'], ends: undefined });
  compare({ kind: 'invalid' }, { kind: 'invalid' });
  for (const change of [
    { remotes: [8] }, { remotes: [] }, { remotes: undefined }, { events: ['ready'] }, { events: undefined },
    { ends: undefined }, { ends: 'closed' }, { kind: 'lost' }, { bogus: 1 },
  ]) {
    const other = JSON.parse(JSON.stringify({ ...expect, ...change }));
    assert.throws(() => compare(other, found), JSON.stringify(change));
  }
  assert.throws(() => compare({ kind: 'invalid' }, { kind: 'not_found' }));
});

test('every difference of a connection is noticed', { timeout: 60_000 }, async () => {
  const steps = [{ open: 'a', port: 0 }, { send: 'a', data: 'abc' }];
  const pattern = { rest: 'a', data: { pattern: 100 }, is: 'fin' };
  const of = (...more) => ({ name: 'n', target: 'web-0', ports: [':100'], steps: [...steps, ...more], expect: { remotes: [100] } });
  for (const way of Object.keys(ways)) {
    assert.deepEqual(await lane(of(pattern), way, ownCluster), []);
    for (const change of [{ data: { pattern: 96 } }, { data: { pattern: 104 } }, { data: '' }, { is: 'reset' }]) {
      const [told] = await lane(of({ ...pattern, ...change }), way, ownCluster);
      assert.match(told, /^n, (local|open): /, JSON.stringify(change));
    }
    const [read] = await lane(of({ read: 'a', data: 'x'.repeat(100) }), way, ownCluster);
    assert.match(read, /other data/);
    const [more] = await lane(of({ read: 'a', data: 'x'.repeat(101) }), way, ownCluster);
    assert.match(more, /fin after 100 bytes/);
    const refused = { ...of({ rest: 'a', data: '', is: 'reset', kind: 'lost' }), ports: [':81'], expect: { remotes: [81] } };
    assert.match((await lane(refused, way, ownCluster))[0], /not_started/);
  }
});
