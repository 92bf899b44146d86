// A real application, built with events and pushed to a registry.
import { Builder } from 'stagewright';

const builder = new Builder();
const build = builder.start({ context: '.', tags: [`${process.argv[2]}/lesson:1`] });
for await (const event of build) {
  if (event.kind === 'finished' && event.outcome === 'failed') console.log(event.message);
}
const image = await build.wait();
let sent = 0;
const onEvent = (event) => {
  if (event.kind === 'progress' && event.currentBytes === event.totalBytes) sent += event.currentBytes;
};
const digest = await image.push({ insecure: true, onEvent });
console.log(`pushed lesson:1, ${digest.slice(0, 7)}, bytes told: ${sent > 0}`);
