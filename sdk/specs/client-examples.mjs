/**
 * The examples of the client's and the hooks' documentation, as modules, and the public functions that must have one.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as client from "realtime-worker/client";
import * as react from "realtime-worker/react";
import * as server from "realtime-worker/server";
import * as React from "react";

export const sdk = fileURLToPath(new URL("..", import.meta.url));
/** Within the package, so that the examples find it by its name. */
const folder = `${sdk}dist/client-examples/`;
const PARTS = ["client", "react"];
const MANUALS = ["CLIENT.md", "MIGRATING.md"];
const modules = { "realtime-worker/client": client, "realtime-worker/react": react, "realtime-worker/server": server, react: React };

/** Writes every example as a module of its own. */
export async function writeExamples() {
	const sources = PARTS.flatMap((part) => readdirSync(`${sdk}src/${part}`).map((name) => `src/${part}/${name}`));
	const examples = [...sources, ...MANUALS].flatMap(examplesOf);
	rmSync(folder, { recursive: true, force: true });
	mkdirSync(folder, { recursive: true });
	for (const { name, code } of examples) writeFileSync(folder + name, completed(code));
	const compilerOptions = { noEmit: false, declaration: false, jsx: "react-jsx", rootDir: "../..", outDir: "../..", types: ["react"] };
	const include = ["*.ts", "*.tsx", "../../specs/client-examples.d.ts"];
	writeFileSync(`${folder}tsconfig.json`, JSON.stringify({ extends: "../../tsconfig.specs.json", compilerOptions, include, exclude: [] }));
	return { examples, folder };
}

/** The examples of a file: of a manual its code blocks, of a source those of its comments. */
function examplesOf(path) {
	const text = readFileSync(sdk + path, "utf8").replace(/^\s*\* ?/gm, path.endsWith(".md") ? "$&" : "");
	const blocks = [...text.matchAll(/^```(tsx?)\n(.*?)^```/gms)].map(([, kind, code]) => ({ kind, code }));
	return blocks.map(({ kind, code }, index) => ({ path, name: `${path.replace(/\W/g, "-")}-${index + 1}.${kind}`, code }));
}

/** Adds the imports that the documentation omits, and what the specs need to observe. */
function completed(code) {
	const imports = Object.entries(modules).map(([from, { default: _, ...module }]) => {
		const isUsed = (name) => new RegExp(`(?<![.\\w])${name}\\b`).test(code) && !new RegExp(`^import .*\\b${name}\\b`, "m").test(code);
		const names = Object.keys(module).filter(isUsed);
		return names.length > 0 ? `import { ${names.join(", ")} } from ${JSON.stringify(from)};\n` : "";
	});
	const component = /^function ([A-Z]\w*)/m.exec(code)?.[1];
	const exports = [/^const client = /m.test(code) && "client", component && `${component} as Component`].filter(Boolean);
	return `${imports.join("")}${code}export { ${exports.join(", ")} };\n`;
}

/** What users can call, each with the comment before it: exported functions, methods of classes, and members of `On`. */
export function publicMembers() {
	return PARTS.flatMap((part) => {
		const index = readFileSync(`${sdk}src/${part}/index.ts`, "utf8");
		return [...index.matchAll(/^export (type )?\{(.*?)\} from "\.(.*?)";$/gms)].flatMap(([, , names, file]) => {
			const source = readFileSync(`${sdk}src/${part}${file}`, "utf8");
			return names.split(",").flatMap((name) => membersOf(source, name.replace("type", "").trim()));
		});
	});
}

function membersOf(source, name) {
	const [, comment, kind, body] = new RegExp(`${COMMENT}export (function|class|interface) ${name}\\b(.*?)^\\}`, "ms").exec(source) ?? [];
	if (kind === "function") return [{ name, comment }];
	// Other interfaces are written by users, or received as data.
	if (kind !== "class" && name !== "On") return [];
	const methods = [...body.matchAll(new RegExp(`${COMMENT}\\t(\\w+)?(<.*?>)?\\(`, "gms"))];
	return methods
		.filter(([, comment, method]) => method !== "constructor" && !comment.includes("@internal"))
		.map(([, comment, method]) => ({ name: `${name}.${method ?? "()"}`, comment }));
}

/** A documentation comment, and the text before it on its line. */
const COMMENT = String.raw`(^\t?/\*\*(?:(?!\*/).)*\*/\n|(?<=\n))`;
