// What hosts do that a step must survive, and what must not survive its host.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const root = mkdtempSync(join(tmpdir(), 'stagewright-hazards-'));
after(() => rmSync(root, { recursive: true, force: true }));
const options = { skip: process.getuid() === 0 ? false : 'commands need root' };
// How long what was killed may take to be gone on a busy machine.
const GONE_TIME_MAX_MS = 30_000;
let count = 0;

function place() {
  const folder = join(root, String(count++));
  const project = join(folder, 'project');
  mkdirSync(project, { recursive: true });
  copyFileSync(process.env.STAGEWRIGHT_TEST_BUSYBOX, join(project, 'busybox'));
  chmodSync(join(project, 'busybox'), 0o755);
  const marker = `200000.${process.pid}${count}`;
  return { marker, folder, arguments: (what) => ['--expose-gc', 'host.mjs', what, join(folder, 'store'), project, marker] };
}

function run(what, environment = {}, before = []) {
  const command = [...before, process.execPath, ...place().arguments(what)];
  const env = { ...process.env, ...environment };
  const ended = spawnSync(command[0], command.slice(1), { encoding: 'utf8', env, timeout: 120_000 });
  assert.equal(ended.status, 0, ended.stderr);
  assert.equal(ended.stdout, 'done\n');
}

function processes(of) {
  const found = [];
  for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (of(name)) found.push(Number(name));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

const running = (marker) =>
  processes((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.includes(marker) && !words.includes('host.mjs');
  });

const children = (parent) =>
  processes((pid) => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')[1]) === parent);

async function until(holds) {
  const deadline = Date.now() + GONE_TIME_MAX_MS;
  while (!holds()) {
    assert.ok(Date.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('exit codes are right while a thread reaps every child', options, () => {
  const library = join(root, 'reaper.so');
  const compiled = spawnSync('cc', ['-shared', '-fPIC', '-pthread', '-o', library, 'reaper.c'], { encoding: 'utf8' });
  assert.equal(compiled.status, 0, compiled.stderr);
  run('codes', { LD_PRELOAD: library });
});

test('exit codes are right where the end of children is ignored', options, () => {
  run('codes', {}, ['sh', '-c', "trap '' CHLD; exec \"$@\"", 'sh']);
});

test('eight builds at once get their own codes and outputs', options, () => run('at once'));

test('a host of a gigabyte starts steps', options, () => run('huge'));

test('a worker that ends takes its build with it, and no other', options, () => run('worker'));

for (const victim of ['host', 'sandbox']) {
  test(`a ${victim} that is killed leaves no process and no mount`, options, async () => {
    const { marker, folder, arguments: of } = place();
    const child = spawn(process.execPath, of('sleep'), { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    const ended = new Promise((resolve) => child.on('close', resolve));
    await until(() => out.includes('ready\n') && running(marker).length >= 4);
    if (victim === 'host') {
      child.kill('SIGKILL');
    } else {
      for (const pid of children(child.pid)) process.kill(pid, 'SIGKILL');
    }
    await until(() => running(marker).length === 0);
    await ended;
    assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(folder));
    if (victim === 'sandbox') assert.equal(out, 'ready\nsandbox\ndone\n');
  });
}
