/**
 * `cargo xtask token`: prints a session token for the Worker that `cargo xtask dev` serves.
 *
 *   --user u7            whose token it is
 *   --roles hr,member    none unless given
 *   --organization o     org_dev unless given
 *   --hours 12           how long it is good for
 *   --secrets <file>     .dev.vars unless given
 */
import { parseArgs } from "node:util";
import { HOURS, ORGANIZATION, mintToken, readSecrets } from "./dev_secrets.mjs";

function readArguments() {
	const { values } = parseArgs({
		options: {
			user: { type: "string", default: "" },
			roles: { type: "string", default: "" },
			organization: { type: "string", default: ORGANIZATION },
			hours: { type: "string", default: String(HOURS) },
			secrets: { type: "string" },
		},
	});
	const hours = Number(values.hours);
	if (values.user.trim() === "") throw new Error("--user names whose token it is");
	if (values.organization.trim() === "") throw new Error("--organization is empty");
	if (!(hours > 0 && hours <= 8_760)) throw new Error(`--hours ${values.hours} is not a number of hours up to a year`);
	const roles = values.roles.split(",").map((role) => role.trim()).filter((role) => role !== "");
	return { ...values, roles, hours };
}

try {
	const { secrets, ...claims } = readArguments();
	console.log(mintToken(claims, readSecrets(secrets).JWT_SECRET));
} catch (error) {
	console.error(`error: ${error.message}`);
	process.exitCode = 1;
}
