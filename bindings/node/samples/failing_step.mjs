// What is known of a command that failed.
import { Builder, StepFailedError } from 'stagewright';

const builder = new Builder();
try {
  await builder.build({ dockerfileText: 'FROM alpine:3.10\nRUN echo last words; exit 7\n' });
} catch (error) {
  if (!(error instanceof StepFailedError)) throw error;
  console.log(error.code, error.exitCode, error.line, error.logTail.at(-1));
  console.log(error.drawing);
}
