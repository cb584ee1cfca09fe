/**
 * The local Workers' secrets, in the `.dev.vars` that wrangler reads.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseEnv } from "node:util";

const NAMES = ["ACCESS_TOKEN", "JWT_SECRET"];

/** The secrets of the file, to which missing ones are added. The API worker beside it reads the same file. */
export function readSecrets(file = ".dev.vars") {
	const text = existsSync(file) ? readFileSync(file, "utf8") : "";
	const lacking = NAMES.filter((name) => !parseEnv(text)[name]);
	if (lacking.length > 0) {
		const separator = text === "" || text.endsWith("\n") ? "" : "\n";
		const lines = lacking.map((name) => `${name}=${randomBytes(32).toString("hex")}\n`);
		writeFileSync(file, [text, separator, ...lines].join(""), { mode: 0o600 });
		console.error(`made ${lacking.join(" and ")} in ${file}: keep it out of the repository`);
	}
	const all = parseEnv(readFileSync(file, "utf8"));
	return Object.fromEntries(NAMES.map((name) => [name, all[name]]));
}
