// Microsoft's analyzer over KQL files: `node kql.cjs TABLES FILE…`. TABLES is the project's list of known tables.
// Says every diagnostic that is an error or a warning, and ends with status 1 when there is one.
'use strict';
const fs = require('fs'), path = require('path');
const folder = path.dirname(require.resolve('@kusto/language-service-next/package.json', { paths: [process.cwd()] }));
require(path.join(folder, 'bridge.min.js'));
require(path.join(folder, 'Kusto.Language.Bridge.min.js'));
/* global Bridge, Kusto */
const { TableSymbol, DatabaseSymbol } = Kusto.Language.Symbols;

const TYPES = { b: 'bool', i: 'int', l: 'long', r: 'real', e: 'decimal', t: 'datetime', p: 'timespan', g: 'guid', s: 'string', d: 'dynamic' };
const [tables, ...files] = process.argv.slice(2);
const symbols = fs.readFileSync(tables, 'utf8').split('\n').filter((line) => /^Device[A-Z]/.test(line)).map((line) => {
  const [name, columns] = line.split('\t');
  const schema = columns.trim().split(' ').map((column) => { const [name, type] = column.split(':'); return `${name}: ${TYPES[type]}`; });
  return TableSymbol.From(`(${schema.join(', ')})`).WithName(name);
});
const globals = Kusto.Language.GlobalState.Default.WithDatabase(new DatabaseSymbol.ctor('db', symbols));

let failed = 0;
for (const file of files) {
  const text = fs.readFileSync(file, 'utf8');
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(text, globals);
  const found = Bridge.toArray(code.GetDiagnostics()).filter((one) => ['Error', 'Warning'].includes(one.Severity));
  for (const one of found) {
    console.log(`${file}: ${one.Severity} ${one.Code}: ${one.Message}: ${JSON.stringify(text.slice(one.Start, one.Start + Math.min(one.Length, 60)))}`);
  }
  failed += found.length > 0;
}
console.log(`kql: ${files.length - failed} passed, ${failed} failed`);
process.exit(failed || !files.length ? 1 : 0);
