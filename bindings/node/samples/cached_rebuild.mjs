// Events of a second build, and why a step ran again.
import { writeFileSync } from 'node:fs';

import { Builder } from 'stagewright';

const builder = new Builder();
await builder.build({ context: '.' });
writeFileSync('src/a.txt', 'three\n');
const names = new Map();
const build = builder.start({ context: '.' });
for await (const event of build) {
  if (event.kind === 'planned') {
    for (const vertex of event.vertices) if (vertex.step) names.set(vertex.id, vertex.name);
  } else if (event.kind === 'finished' && names.has(event.vertex)) {
    console.log(`${event.outcome} ${names.get(event.vertex)}${event.miss ? `: ${event.miss.text}` : ''}`);
  }
}
await build.wait();
