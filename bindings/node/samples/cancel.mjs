// A build that is stopped while a command runs.
import { BuildCancelledError, Builder } from 'stagewright';

const builder = new Builder();
const stop = new AbortController();
const build = builder.start({
  dockerfileText: 'FROM alpine:3.10\nRUN echo ready; sleep 1000\n',
  signal: stop.signal,
});
build.on('log', (event) => {
  process.stdout.write(event.text);
  stop.abort();
});
try {
  await build.wait();
} catch (error) {
  if (error instanceof BuildCancelledError) console.log(error.code);
}
