// The surface against `tests/vectors/api.json` and `error.json`, in both directions.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import * as surface from '../index.mjs';
import { camel, cluster, root, table } from './support.mjs';

const api = table('vectors/api.json');
const { NAMES } = createRequire(import.meta.url)('../dist/options.js');
const home = fileURLToPath(new URL('..', import.meta.url));

/** The names of a list as Node writes them, with those that only Node has. */
function named(list = [], extra = []) {
  const names = list.map((entry) => (typeof entry === 'string' ? camel(entry) : camel(entry.node ?? '')));
  return [...names.filter(Boolean), ...extra].sort();
}

/** The names that the table wants in Node, by where they are. */
function wanted(api) {
  const only = (what) => api.node_only[what] ?? [];
  const names = { attributes: named(api.error.attributes, ['code', ...only('error')]).filter((name) => name !== 'kind') };
  for (const [verb, options] of Object.entries(api.options)) {
    const extra = verb === 'timeouts' ? [] : only('options');
    names[`options ${camel(verb)}`] = named(options.map(({ name }) => name), extra);
  }
  for (const [name, { methods = [], properties = [] }] of Object.entries(api.classes)) {
    names[name] = named([...methods, ...properties], only(name));
  }
  // So say `logs_timeouts` and `port_forward_timeouts`.
  names['options logsTimeouts'] = names['options timeouts'].filter((name) => !['total', 'stall'].includes(name));
  names['options portForwardTimeouts'] = names['options timeouts'].filter((name) => name !== 'total');
  names['Client static'] = named(api.classes.Client.static);
  const classes = Object.values(api.classes).flatMap(({ node }) => node);
  // Interfaces leave nothing behind.
  const values = classes.filter((name) => !INTERFACES.includes(name));
  names.exports = [...values, 'AbortError', api.error.node.class, ...api.functions].sort();
  return names;
}

const INTERFACES = [
  'CompletedProcess', 'ExitStatus', 'ForwardEvent', 'ForwardReport', 'ForwardedPort', 'LogEnd', 'LogEvent', 'LogLine',
  'LogReport', 'LogSource',
];

/** The names that there are, from things in use. */
async function seen() {
  const own = (object) =>
    Object.getOwnPropertyNames(object).filter((name) => !['constructor', 'length', 'name', 'prototype'].includes(name));
  const all = (object) => [...new Set([...own(Object.getPrototypeOf(object)), ...own(object)])].sort();
  const client = await surface.Client.connect({ kubeconfig: await cluster() });
  const process = await client.exec('web-0', ['true'], { stdin: true });
  const logs = await client.logs('web-0');
  const batches = await client.logs('web-0');
  const [line] = (await batches.batches().next()).value;
  const forward = await client.portForward('web-0', [':80']);
  for (const object of [client, process, logs, forward]) assert.equal(typeof object[Symbol.asyncDispose], 'function');
  const names = {
    Client: all(client),
    'Client static': own(surface.Client).sort(),
    Process: all(process),
    // What is an EventEmitter's begins with an underscore.
    Logs: all(logs).filter((name) => !name.startsWith('_')),
    PortForward: all(forward).filter((name) => !name.startsWith('_')),
    ForwardedPort: Object.keys(forward.localPorts[0]).sort(),
    ForwardReport: Object.keys(forward.report()).sort(),
    LogEnd: Object.keys(await logs.end).sort(),
    LogReport: Object.keys(logs.report()).sort(),
    LogLine: Object.keys(line).sort(),
    LogSource: Object.keys(line.source).sort(),
    ExitStatus: Object.keys(await process.exit).sort(),
    CompletedProcess: Object.keys(await client.run('web-0', ['true'])).sort(),
    exports: Object.keys(surface).sort(),
  };
  await forward.close();
  const { open, ...verbs } = NAMES;
  assert.deepEqual(open, api.node_only.options);
  for (const [verb, options] of Object.entries(verbs)) names[`options ${verb}`] = [...options].sort();
  return names;
}

/** What is not the same in the table and in Node, one line each. */
function differences(api, found) {
  // No event has all of its names: the compiler compares them.
  const { attributes, LogEvent, ForwardEvent, ...table } = wanted(api);
  const missing = (one, other, where) =>
    Object.keys(one).flatMap((what) =>
      one[what].filter((name) => !other[what]?.includes(name)).map((name) => `${what} ${name} is in ${where} only`),
    );
  return [...missing(table, found, 'the table'), ...missing(found, table, 'Node')];
}

/** A copy of the table with a change in one of its lists: `options exec`. */
function changed(path, change) {
  const copy = structuredClone(api);
  change(path.split(' ').reduce((part, key) => part[key], copy));
  return copy;
}

const bogus = (list) => list.push(list[0].name ? { ...list[0], name: 'bogus' } : 'bogus');

test('the surface is that of the table', async () => {
  const found = await seen();
  assert.deepEqual(differences(api, found), []);
  const lists = [
    ...Object.keys(api.options).map((verb) => `options ${verb}`),
    'classes Client static',
    'classes Client methods',
    'classes Process methods',
    'classes Logs methods',
    'classes PortForward methods',
    'classes PortForward properties',
    'classes ForwardedPort properties',
    'classes ForwardReport properties',
    'classes LogEnd properties',
    'classes LogReport properties',
    'classes LogLine properties',
    'classes LogSource properties',
    'classes Process properties',
    'classes ExitStatus properties',
    'classes CompletedProcess properties',
    'functions',
  ];
  for (const path of lists) {
    const more = differences(changed(path, path === 'functions' ? (list) => list.push('bogus') : bogus), found);
    // The limits of logs and of port-forwards are some of all.
    assert.equal(more.length, path === 'options timeouts' ? 3 : 1, `${path}: ${more}`);
    assert.match(more[0], / bogus is in the table only$/);
    if (path === 'functions') continue;
    const fewer = differences(changed(path, (list) => list.shift()), found);
    assert.equal(fewer.length, 1, `${path}: ${fewer}`);
    assert.match(fewer[0], / is in Node only$/);
  }
  const other = changed('classes', (classes) => (classes.Bogus = { node: ['Bogus'] }));
  assert.deepEqual(differences(other, found), ['exports Bogus is in the table only']);
});

test('every kind is told with what error.json says of it', () => {
  const { parsed } = createRequire(import.meta.url)('../dist/errors.js');
  const { cases } = table('vectors/error.json');
  assert.deepEqual(cases.map(({ name }) => name), api.kinds.map(({ name }) => name));
  for (const { input, output } of cases) {
    const text = JSON.stringify({ code: input, message: 'm', mayHaveStarted: output.may_have_started });
    const error = parsed(text);
    assert.ok(error instanceof surface.WsxError && error instanceof Error);
    assert.deepEqual([error.code, error.mayHaveStarted], [input, output.may_have_started]);
  }
});

/** What the compiler says of a program that needs the names of this table, no more and no fewer. */
function complaints(api) {
  const names = wanted(api);
  const union = (names) => names.map((name) => `'${name}'`).join(' | ');
  const same = (type, names) => `check<Same<keyof Required<${type}>, ${union(names)}>>();\n`;
  const inherited = "Exclude<keyof WsxError, 'name' | 'stack' | 'cause'>";
  const text = `
    import type * as wsx from 'kubectl-wsx';
    import type { WsxError } from 'kubectl-wsx';
    import type { EventEmitter } from 'node:events';
    import * as http from 'node:http';
    type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
    declare function check<T extends true>(): T;
    type Named<T> = Exclude<keyof T, symbol>;
    type All<T> = { [K in T extends T ? keyof T : never]: unknown };
    ${same('wsx.ConnectOptions', names['options connect'])}
    ${same('wsx.ExecOptions', names['options exec'])}
    ${same('wsx.AttachOptions', names['options attach'])}
    ${same('wsx.RunOptions', names['options run'])}
    ${same('wsx.LogsOptions', names['options logs'])}
    ${same('wsx.PortForwardOptions', names['options portForward'])}
    ${same('wsx.PortForwardTimeouts', names['options portForwardTimeouts'])}
    ${same('wsx.Timeouts', names['options timeouts'])}
    ${same('wsx.LogsTimeouts', names['options logsTimeouts'])}
    ${same('wsx.LogEnd', names.LogEnd)}
    ${same('wsx.LogLine', names.LogLine)}
    ${same('wsx.LogReport', names.LogReport)}
    ${same('wsx.LogSource', names.LogSource)}
    ${same('All<wsx.LogEvent>', names.LogEvent)}
    ${same('wsx.ForwardedPort', names.ForwardedPort)}
    ${same('wsx.ForwardReport', names.ForwardReport)}
    ${same('All<wsx.ForwardEvent>', names.ForwardEvent)}
    ${same('wsx.ExitStatus', names.ExitStatus)}
    ${same('wsx.CompletedProcess', names.CompletedProcess)}
    check<Same<Named<wsx.Client>, ${union(names.Client)}>>();
    check<Same<Named<wsx.Process>, ${union(names.Process)}>>();
    check<Same<Exclude<Named<wsx.Logs>, keyof EventEmitter>, ${union(names.Logs)}>>();
    check<Same<Exclude<Named<wsx.PortForward>, keyof EventEmitter>, ${union(names.PortForward)}>>();
    check<Same<Exclude<keyof typeof wsx.Client, 'prototype'>, ${union(names['Client static'])}>>();
    check<Same<${inherited}, ${union(names.attributes)}>>();
    check<Same<wsx.ErrorCode, ${union(api.kinds.map(({ name }) => name))}>>();
    // How it is used.
    export async function use(client: wsx.Client): Promise<string> {
      const { stdout } = await client.run('p', ['c'], { encoding: 'utf8' });
      const raw: Buffer = (await client.run('p', ['c'])).stdout;
      const process = await client.exec('p', ['c'], { size: { columns: 1, rows: 1 }, signal: AbortSignal.timeout(1) });
      const joined = await client.attach('p', { stdin: true });
      if (joined.hasTerminal) joined.resize({ columns: 1, rows: 1 });
      for await (const line of process.stdout!.lines({ encoding: 'utf8' })) return line + raw.length;
      const logs = await client.logs(undefined, { selector: 'app=web', follow: true, sinceTime: new Date() });
      logs.on('gap', ({ from, to, source }) => console.log((to ?? 0n) - (from ?? 0n), source.pod));
      for await (const event of logs.events()) if (event.kind === 'failed') throw event.error;
      for await (const line of logs) raw.equals(line);
      for await (const batch of logs.batches()) for (const { timestamp } of batch) console.log(timestamp);
      logs.chunks().pipe(globalThis.process.stdout);
      const forward = await client.portForward('svc/api', [':http', 80], { address: [], reconnect: 3, halfClose: 'hold' });
      forward.on('closed', ({ error, sent }) => console.log(error?.code, sent.toFixed()));
      for await (const event of forward.events()) if (event.kind === 'ready') console.log(event.away ?? event.pod);
      const socket: wsx.ForwardSocket = await forward.open('http', { signal: AbortSignal.timeout(1) });
      http.get({ createConnection: () => socket });
      new http.Agent({ keepAlive: true }).createConnection = (_, done) => void forward.open(80).then((s) => done?.(null, s), (e) => done?.(e, socket));
      return (await logs.end).kind;
    }`;
  const folder = mkdtempSync(`${home}/test/types-`);
  try {
    writeFileSync(`${folder}/use.mts`, text);
    writeFileSync(`${folder}/use.cts`, text);
    const files = [`${folder}/use.mts`, `${folder}/use.cts`];
    const flags = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--lib', 'es2022,esnext.disposable'];
    execFileSync(process.execPath, [`${home}/node_modules/typescript/bin/tsc`, ...flags, ...files], {
      cwd: home,
      encoding: 'utf8',
    });
    return '';
  } catch (error) {
    return error.stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the types have the names of the table, no more and no fewer', () => {
  assert.equal(complaints(api), '');
  for (const path of ['kinds', 'error attributes', 'options attach', 'options logs', 'classes Client methods', 'classes Client static', 'classes LogEvent properties', 'options port_forward', 'classes ForwardEvent properties', 'classes PortForward methods']) {
    assert.match(complaints(changed(path, bogus)), /error TS2344/, `${path}: bogus`);
    assert.match(complaints(changed(path, (list) => list.pop())), /error TS2344/, `${path}: missing`);
  }
});

test('the committed types are those of the source', () => {
  const args = ['diff', '--exit-code', '--stat', '--', 'bindings-node/types', 'bindings-node/native'];
  const untracked = ['status', '--porcelain', '--', 'bindings-node/types', 'bindings-node/native'];
  for (const [command, ...rest] of [args, untracked]) {
    assert.equal(execFileSync('git', [command, ...rest], { cwd: root, encoding: 'utf8' }), '');
  }
});
