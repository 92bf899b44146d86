// A Dockerfile of two stages, its image and an OCI archive.
import { Builder } from 'stagewright';

const builder = new Builder();
const image = await builder.build({ context: '.', tags: ['app:1'], labels: { 'made-by': 'a sample' } });
await image.export('app.tar', { kind: 'oci_archive', names: ['app:1'] });
console.log(image.names.join(), image.config.config.Labels['made-by']);
for (const layer of (await image.sizes()).layers) {
  console.log(layer.createdBy, layer.bytes);
}
