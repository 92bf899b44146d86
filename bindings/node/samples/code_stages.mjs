// Stages in code, and the Dockerfile that says the same.
import { Builder, Stage } from 'stagewright';

const tools = Stage.from('alpine:3.10', { name: 'tools' }).workdir('/build').copy('src', 'src');
const made = tools.run('cat src/* "$(test -n "$TOKEN" && echo /dev/null)" > all.txt', {
  mounts: [
    { type: 'secret', id: 'token', env: 'TOKEN', value: 'hidden' },
    { type: 'cache', target: '/root/.cache' },
  ],
});
const app = Stage.scratch().copy('/build/all.txt', '/', { from: made }).env('LANG', 'C').cmd(['/all.txt']);

const image = await new Builder().build({ context: '.', stage: app });
console.log(image.config.config.Cmd.join());
process.stdout.write(app.toDockerfile());
