// composeQuery(target, { padding, maxTarget }) moves the query of a WebSocket's target into its path, where the
// Kubernetes API server does not drop it (docs/queryargs.md). Only this file is needed, no module and no build:
//   new WebSocket('wss://host' + composeQuery('/api/v1/namespaces/…/proxy/loki/api/v1/tail?query=…'));
function composeQuery(target, { padding = true, maxTarget = 8000 } = {}) {
  const [, path, query] = /^([^?]*)\??([^]*)$/.exec(target);
  if (!/^\/[!"$-~]*$/.test(path)) throw new Error('the path holds a byte that cannot stand in a request');
  if (/\/\/|%2f|\/(\.|%2e){1,2}(\/|$)/i.test(path)) throw new Error('the API server would change the path on the way');
  const utf8 = (text) => Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
  const escaped = utf8(query).replace(/[^!"$-~]/g, (byte) =>
    '%' + byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'));
  const segment = btoa(escaped).replaceAll('+', '-').replaceAll('/', '_');
  const base = path.replace(/\/$/, '');
  const slash = path !== '/' && path.endsWith('/') ? '~/' : '';
  const composed = `${base}/queryargs/${padding ? segment : segment.replace(/=+$/, '')}/${slash}`;
  const result = query === '' ? path : composed;
  if (result.length > maxTarget) throw new Error(`${result.length} bytes are too many, the limit is ${maxTarget}`);
  return result;
}
