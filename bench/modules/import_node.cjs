// What `require('kubectl-wsx')` or, with a word, `import('kubectl-wsx')` costs.

async function main() {
  const [begin, cpu] = [performance.now(), process.cpuUsage()];
  if (process.argv[3] === 'import') await import('kubectl-wsx');
  else require('kubectl-wsx');
  const wall = (performance.now() - begin) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ items: 1, bytes: 0, wall, cpu: (user + system) / 1e6 }));
}

main();
