/** The masks of `publication.json`, in JavaScript. */

const MASKS = {
	ssn: (value) => "*".repeat(value.length - 4) + value.slice(-4),
	phone: (value) => "*".repeat(value.length - 4) + value.slice(-4),
	email: (value) => value.replace(/^(.)[^@]*@(.)[^.]*/, (all, name, domain) => {
		const at = all.indexOf("@");
		return `${name}${"*".repeat(at - 1)}@${domain}${"*".repeat(all.length - at - 2)}`;
	}),
};

/** A change as holders of a role see it, in the frame that the Worker sends. */
export function masked({ type, table, eventType, new: row, maskingConfig }, role) {
	const shown = { ...row };
	for (const [column, { type: mask, show }] of Object.entries(maskingConfig)) {
		if (!show.roles.includes(role)) shown[column] = MASKS[mask](row[column]);
	}
	return { type, table, eventType, schema: "public", new: shown, old: null };
}
