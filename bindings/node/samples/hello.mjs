// An image of one file, and its files.
import { readFileSync } from 'node:fs';

import { Builder } from 'stagewright';

const builder = new Builder();
const image = await builder.build({ dockerfileText: 'FROM scratch\nCOPY <<EOF /hello\nhello, world\nEOF\n' });
await image.export('out', { kind: 'directory' });
process.stdout.write(readFileSync('out/hello', 'utf8'));
