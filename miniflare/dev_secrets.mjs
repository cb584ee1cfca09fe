/**
 * The local Worker's secrets, and the tokens signed with them.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { signToken } from "./token.mjs";

export const ORGANIZATION = "org_dev";
export const HOURS = 12;
/** `wrangler dev` reads this file too. */
const SECRETS = fileURLToPath(new URL("../.dev.vars", import.meta.url));

/** The secrets of the file, to which missing ones are added. */
export function readSecrets(file = SECRETS) {
	const text = existsSync(file) ? readFileSync(file, "utf8") : "";
	const known = parseEnv(text);
	const lines = ["ACCESS_TOKEN", "JWT_SECRET"]
		.filter((name) => !known[name])
		.map((name) => `${name}=${randomBytes(32).toString("hex")}\n`);
	const separator = text === "" || text.endsWith("\n") ? "" : "\n";
	const complete = [text, separator, ...lines].join("");
	writeFileSync(file, complete, { mode: 0o600 });
	return parseEnv(complete);
}

/** A session token of the development organization, unless another is named. */
export function mintToken({ user, roles = [], organization = ORGANIZATION, hours = HOURS }, secret) {
	const expiry = Math.floor(Date.now() / 1_000 + hours * 3_600);
	return signToken({ sub: user, roles, organizationId: organization, exp: expiry }, secret);
}
