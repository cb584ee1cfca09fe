/**
 * Puts the codes of docs/protocol-native.md, which a test holds against the code, into openapi.json and asyncapi.json.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
const [, table] = readFileSync(`${docs}protocol-native.md`, "utf8").split("<!-- table: codes -->\n");
const [rows] = table.match(/^(?:\|.*\n)+/);
const codes = [...rows.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);

for (const name of ["openapi.json", "asyncapi.json"]) {
	const document = JSON.parse(readFileSync(docs + name, "utf8"));
	document.components.schemas.Code.enum = codes;
	writeFileSync(docs + name, `${JSON.stringify(document, null, "\t")}\n`);
}
