/**
 * `npx realtime-worker token`: a session token for development.
 */
import { createHmac } from "node:crypto";
import { parseArgs } from "node:util";
import { readSecrets } from "./secrets.mjs";

/** Prints a token signed with the secrets of `.dev.vars`. */
export function token(given) {
	const { values } = parseArgs({
		args: given,
		options: {
			user: { type: "string" },
			roles: { type: "string", default: "" },
			organization: { type: "string", default: "org_dev" },
			hours: { type: "string", default: "12" },
		},
	});
	const hours = Number(values.hours);
	if (!values.user?.trim()) throw new Error("--user names whose token it is");
	if (!(hours > 0 && hours <= 8_760)) throw new Error(`--hours ${values.hours} is not a number of hours up to a year`);
	const roles = values.roles.split(",").map((role) => role.trim()).filter(Boolean);
	const exp = Math.floor(Date.now() / 1_000 + hours * 3_600);
	console.log(sign({ sub: values.user, roles, organizationId: values.organization, exp }, readSecrets().JWT_SECRET));
	return 0;
}

function sign(claims, secret) {
	const [head, body] = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
	return `${head}.${body}.${createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url")}`;
}
