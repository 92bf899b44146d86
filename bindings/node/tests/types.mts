// What a strict compiler must take.
import { type Event, Builder, Stage, StagewrightError } from 'stagewright';

const builder = new Builder({ store: '/tmp/x', registryMirrors: { 'docker.io': '127.0.0.1:5000' } });

export async function use(): Promise<string> {
  const stage = Stage.from('alpine')
    .run(['true'], { mounts: [{ type: 'secret', id: 'token', value: new Uint8Array([1]) }] })
    .copy(['a', 'b'], '/', { from: Stage.scratch(), chown: '1:1' });
  const build = builder.start({ stage, context: '.', signal: AbortSignal.timeout(1000) });
  for await (const event of build) {
    tell(event);
  }
  try {
    const image = await build.wait();
    return image.id;
  } catch (error) {
    return error instanceof StagewrightError ? error.code : 'other';
  }
}

export async function describe(): Promise<(string | null)[]> {
  const { targets } = await builder.targets({ context: '.' });
  const { findings } = await builder.check({ context: '.', target: 'last' });
  const { args } = await builder.outline({ dockerfileText: 'FROM scratch' });
  return [...targets.map((it) => it.name), ...findings.map((it) => it.rule), ...args.map((it) => it.name)];
}

function tell(event: Event): number {
  return event.kind === 'finished' ? (event.miss?.changes.length ?? 0) : event.atMs;
}

// @ts-expect-error: an option that there is not
export const wrong = () => builder.build({ noCach: true });
