// What the core says in the command line's words, said in JavaScript's.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const { parsed } = createRequire(import.meta.url)('../dist/errors.js');

test('errors name options, not flags', () => {
  const hints = {
    '--kubeconfig FILE, or set KUBECONFIG': 'kubeconfig: FILE, or set KUBECONFIG',
    '--context NAME   # there are: a--b': 'context: NAME   # there are: a--b',
    '--protocol v4   # works there; stdin cannot end': "protocol: 'v4'   # works there; stdin cannot end",
    '--require-ready=false   # as kubectl does': 'requireReady: false   # as kubectl does',
    'name all: POD -c CONTAINER --no-preflight': 'name all: POD container: CONTAINER, preflight: false',
    '-c CONTAINER': 'container: CONTAINER',
    'kubectl get pods --show-labels': 'kubectl get pods --show-labels',
  };
  const limits = {
    'not within 5s (--connect-timeout): proxy': 'not within 5s (timeouts.connect): proxy',
    'no answer (--keepalive-timeout)': 'no answer (timeouts.keepaliveTimeout)',
    'no end (--request-timeout)': 'no end (requestTimeout)',
  };
  const [said, told] = [Object.keys(limits).join(), Object.values(limits).join()];
  const error = parsed(JSON.stringify({ code: 'lost', message: said, why: said, remedies: Object.keys(hints) }));
  assert.deepEqual([error.message, error.why], [told, told]);
  assert.deepEqual(error.remedies, Object.values(hints));
});
