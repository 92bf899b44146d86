#!/usr/bin/env node
// The stagewright command, as the package of this platform brings it.
'use strict';

const { spawn } = require('node:child_process');
const { join, dirname } = require('node:path');

const name = `@stagewright/linux-${process.arch}-gnu`;
let program;
try {
  program = join(dirname(require.resolve(name)), 'stagewright');
} catch {
  console.error(`error: ${name} is not installed; stagewright runs on Linux with glibc, on x64`);
  process.exit(1);
}
const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => child.kill(signal));
}
child.on('error', (error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  if (signal === null) {
    process.exit(code ?? 1);
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
