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

const only = (what) => api.node_only[what] ?? [];
const options = (verb) =>
  named(api.options[verb].map(({ name }) => name), verb === 'timeouts' ? [] : only('options'));
const members = (name) => {
  const { methods, properties } = api.classes[name];
  return named([...(methods ?? []), ...(properties ?? [])], only(name));
};
const attributes = named(api.error.attributes, ['code', ...only('error')]).filter((name) => name !== 'kind');

test('the options are those of the table', () => {
  assert.deepEqual(Object.keys(NAMES), Object.keys(api.options));
  for (const [verb, names] of Object.entries(NAMES)) assert.deepEqual([...names].sort(), options(verb), verb);
});

test('the classes have the members of the table', async () => {
  const own = (object) =>
    Object.getOwnPropertyNames(object).filter((name) => !['constructor', 'length', 'name', 'prototype'].includes(name));
  const { Client, Process } = surface;
  const client = await Client.connect({ kubeconfig: await cluster() });
  const process = await client.exec('web-0', ['true'], { stdin: true });
  for (const [name, object] of Object.entries({ Client: client, Process: process })) {
    const found = [...own(Object.getPrototypeOf(object)), ...own(object)];
    assert.deepEqual([...new Set(found)].sort(), members(name), name);
    assert.equal(typeof object[Symbol.asyncDispose], 'function');
  }
  assert.deepEqual(own(Client).sort(), named(api.classes.Client.static));
  assert.deepEqual(Object.keys(await process.exit).sort(), members('ExitStatus'));
  assert.deepEqual(Object.keys(await client.run('web-0', ['true'])).sort(), members('CompletedProcess'));
  const classes = Object.values(api.classes).flatMap(({ node }) => node);
  const values = classes.filter((name) => name in surface);
  assert.deepEqual(Object.keys(surface).sort(), [...values, 'AbortError', api.error.node.class, ...api.functions].sort());
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

test('the types have the names of the table, no more and no fewer', () => {
  const union = (names) => names.map((name) => `'${name}'`).join(' | ');
  const same = (type, names) => `check<Same<keyof Required<${type}>, ${union(names)}>>();\n`;
  const inherited = "Exclude<keyof WsxError, 'name' | 'stack' | 'cause'>";
  const text = `
    import type * as wsx from 'kubectl-wsx';
    import type { WsxError } from 'kubectl-wsx';
    type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
    declare function check<T extends true>(): T;
    type Named<T> = Exclude<keyof T, symbol>;
    ${same('wsx.ConnectOptions', options('connect'))}
    ${same('wsx.ExecOptions', options('exec'))}
    ${same('wsx.RunOptions', options('run'))}
    ${same('wsx.Timeouts', options('timeouts'))}
    ${same('wsx.ExitStatus', members('ExitStatus'))}
    ${same('wsx.CompletedProcess', members('CompletedProcess'))}
    check<Same<Named<wsx.Client>, ${union(members('Client'))}>>();
    check<Same<Named<wsx.Process>, ${union(members('Process'))}>>();
    check<Same<Exclude<keyof typeof wsx.Client, 'prototype'>, ${union(named(api.classes.Client.static))}>>();
    check<Same<${inherited}, ${union(attributes)}>>();
    check<Same<wsx.ErrorCode, ${union(api.kinds.map(({ name }) => name))}>>();
    // How it is used.
    export async function use(client: wsx.Client): Promise<string> {
      const { stdout } = await client.run('p', ['c'], { encoding: 'utf8' });
      const raw: Buffer = (await client.run('p', ['c'])).stdout;
      const process = await client.exec('p', ['c'], { size: { columns: 1, rows: 1 }, signal: AbortSignal.timeout(1) });
      for await (const line of process.stdout!.lines({ encoding: 'utf8' })) return line + raw.length;
      return stdout;
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
  } catch (error) {
    assert.fail(error.stdout ?? error);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the committed types are those of the source', () => {
  const args = ['diff', '--exit-code', '--stat', '--', 'bindings-node/types', 'bindings-node/native'];
  const untracked = ['status', '--porcelain', '--', 'bindings-node/types', 'bindings-node/native'];
  for (const [command, ...rest] of [args, untracked]) {
    assert.equal(execFileSync('git', [command, ...rest], { cwd: root, encoding: 'utf8' }), '');
  }
});
