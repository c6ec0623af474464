// Grafana's parser over LogQL files: `node logql.mjs FILE…`. Ends with status 1 when one does not parse.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.cwd(), 'x.js'));
const { parser } = require('@grafana/lezer-logql');
let failed = 0;
const files = process.argv.slice(2);
for (const file of files) {
  const text = fs.readFileSync(file, 'utf8');
  const errors = [];
  parser.parse(text).iterate({ enter: (node) => { if (node.type.isError) errors.push(node.from); } });
  for (const at of errors) console.log(`${file}: error at ${at}: ${JSON.stringify(text.slice(at, at + 60))}`);
  failed += errors.length > 0;
}
console.log(`logql: ${files.length - failed} passed, ${failed} failed`);
process.exit(failed || !files.length ? 1 : 0);
