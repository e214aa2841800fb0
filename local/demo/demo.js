// The demo's front end: it signs in, reads the entitlements every second and opens the portal.
// It calls API Gateway directly, as a product's front end does. It inserts text as text, never as HTML.

const POLL_MILLISECONDS = 1000;
const SESSION = "portcullis-subject";
const SEEN = "portcullis-seen"; // the last response and the changes, which a visit to the portal must not lose
const byId = (id) => document.getElementById(id);
const stack = await (await fetch("/stack.json")).json();

let subject = sessionStorage.getItem(SESSION);
let token = null;
let { last, notes } = JSON.parse(sessionStorage.getItem(SEEN) ?? '{"last": null, "notes": []}');
let timer = null;
let products = []; // from GET /catalog

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const day = (iso) => new Date(iso).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
const clock = (at) => at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const planName = (product) => stack.plans[product]?.name ?? product;
const seats = (count) => (count === 1 ? "1 seat" : `${count} seats`);

function notice(text) {
  byId("notice").hidden = !text;
  byId("notice").textContent = text ?? "";
}

async function signedIn(path, options = {}) {
  if (!token) {
    const response = await fetch("/token", { method: "POST", body: JSON.stringify({ subject }) });
    token = (await response.json()).access_token;
  }
  const response = await fetch(stack.api_url + path, {
    ...options,
    headers: { authorization: `Bearer ${token}`, ...options.headers },
  });
  if (response.status === 401) token = null; // expired: the next request asks for another
  const body = await response.json();
  if (!response.ok) {
    const message = body.detail ?? body.title ?? body.message ?? `The API responded ${response.status}`;
    throw Object.assign(new Error(message), { status: response.status });
  }
  return body;
}

// ---------------------------------------------------------------- sign-in

function showSignIn() {
  clearTimeout(timer);
  byId("account").hidden = byId("who").hidden = true;
  byId("sign-in").hidden = false;
  byId("people").replaceChildren(...stack.users.map((user) => {
    const initials = user.name.split(" ").map((word) => word[0]).join("");
    const card = element("button", { className: "person", type: "button" },
      element("span", { className: "mark", ariaHidden: "true", textContent: initials }),
      element("strong", { textContent: user.name }),
      element("span", { textContent: user.email }));
    card.dataset.subject = user.subject;
    card.addEventListener("click", () => signIn(user.subject));
    return element("li", {}, card);
  }));
}

function signIn(chosen) {
  subject = chosen;
  token = last = null;
  notes = [];
  sessionStorage.setItem(SESSION, chosen);
  showAccount();
}

function showAccount() {
  const user = stack.users.find((each) => each.subject === subject);
  if (!user) return showSignIn();
  byId("sign-in").hidden = true;
  byId("account").hidden = byId("who").hidden = false;
  byId("who-name").textContent = user.email;
  byId("changes").replaceChildren();
  notes.forEach(showNote);
  byId("greeting").textContent = `Hello, ${user.name.split(" ")[0]}`;
  byId("summary").textContent = "Loading your entitlements …";
  refresh();
}

byId("sign-out").addEventListener("click", () => {
  sessionStorage.clear();
  subject = token = null;
  notice();
  showSignIn();
});

// ---------------------------------------------------------------- entitlements

async function refresh() {
  clearTimeout(timer);
  const asked = subject;
  try {
    const response = await backFromCheckout() ?? await signedIn("/entitlements");
    if (asked !== subject) return;
    notice();
    // A read that began before the return from checkout is older than what the page shows.
    if (!last?.as_of || response.as_of >= last.as_of) render(response);
  } catch (error) {
    notice(`${error.message}. Trying again.`);
  }
  timer = setTimeout(refresh, POLL_MILLISECONDS);
}

function render(now) {
  renderFeatures(now);
  renderSubscriptions(now.subscriptions);
  renderFacts(now);
  byId("summary").textContent = summary(now);
  byId("manage").hidden = !now.customer;
  renderOffer(now);
  if (last) changes(last, now).forEach(note);
  last = now;
  sessionStorage.setItem(SEEN, JSON.stringify({ last, notes }));
}

function summary(now) {
  const giving = now.subscriptions.filter((each) => each.gives_access);
  if (!now.customer) return "You have no plan yet. Your first purchase creates your customer in Stripe.";
  if (!giving.length) return "None of your subscriptions gives access now.";
  const ending = giving.filter((each) => each.cancel_at);
  const names = giving.flatMap((each) => each.items.map((item) => planName(item.product))).join(" and ");
  return ending.length === giving.length
    ? `You have ${names} until ${day(ending[0].cancel_at)}.`
    : `You have ${names}.`;
}

function renderFeatures(now) {
  // A feature ends for good only at a scheduled end, or with a grant; otherwise its period renews.
  const ends = new Set(now.subscriptions.map((each) => each.cancel_at));
  const how = (granted) => granted.source === "grant" ? `granted until ${day(granted.until)}`
    : ends.has(granted.until) ? `until ${day(granted.until)}` : "included";
  byId("features").replaceChildren(...Object.entries(stack.features).map(([key, name]) => {
    const granted = now.features[key];
    const changed = last && Boolean(last.features[key]) !== Boolean(granted);
    const sign = element("span", { className: "sign" });
    sign.innerHTML = '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M2.5 6.4 5 9l4.6-5.6"/></svg>';
    const row = element("li", { className: `${granted ? "on" : ""} ${changed ? "changed" : ""}` },
      sign,
      element("span", { className: "name", textContent: name }),
      element("span", { className: "until", textContent: granted ? how(granted) : "not included" }));
    row.dataset.feature = key;
    return row;
  }));
}

function renderSubscriptions(subscriptions) {
  byId("subscriptions").replaceChildren(...subscriptions.map((each) => {
    const names = each.items.map((item) => `${planName(item.product)}, ${seats(item.quantity)}`).join(" · ");
    const [tag, kind] = !each.gives_access ? [each.status.replaceAll("_", " "), "off"]
      : each.cancel_at ? ["ending", "ending"]
      : [each.status.replaceAll("_", " "), ""];
    const line = !each.gives_access ? "No access."
      : each.status === "past_due" ? "A payment is overdue. What was paid for stays for a few days."
      : each.cancel_at ? `Cancelled. Access stays until ${day(each.cancel_at)}.`
      : each.status === "trialing" ? `Trial until ${day(each.trial_end)}, then it renews.`
      : `Renews on ${day(each.current_period_end)}.`;
    return element("li", {},
      element("div", { className: "head" },
        element("strong", { textContent: names }),
        element("span", { className: `tag ${kind}`, textContent: tag })),
      element("p", { textContent: line }));
  }));
  if (!subscriptions.length) {
    byId("subscriptions").replaceChildren(element("li", { className: "empty", textContent: "You have no subscriptions." }));
  }
}

function paymentMethod(method) {
  if (!method) return "none";
  const name = (method.brand ?? method.type).replaceAll("_", " ");
  return [
    name[0].toUpperCase() + name.slice(1) + (method.last4 ? ` ending in ${method.last4}` : ""),
    method.exp_month && `${method.exp_month}/${method.exp_year}`,
  ].filter(Boolean).join(", ");
}

function renderFacts(now) {
  const facts = {
    "Stripe customer": now.customer ?? "none",
    "Payment method": paymentMethod(now.payment_method),
    "Read from Stripe at": now.as_of ? clock(new Date(now.as_of)) : "never",
    "Valid without updates until": now.valid_until ? day(now.valid_until) : "not applicable",
  };
  byId("facts").replaceChildren(...Object.entries(facts).map(([term, value]) =>
    element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: value }))));
}

// ---------------------------------------------------------------- changes

function changes(before, now) {
  const seen = [];
  for (const [key, name] of Object.entries(stack.features)) {
    if (!before.features[key] && now.features[key]) seen.push(`${name} added`);
    if (before.features[key] && !now.features[key]) seen.push(`${name} removed`);
  }
  const previously = Object.fromEntries(before.subscriptions.map((each) => [each.id, each]));
  for (const each of now.subscriptions) {
    const was = previously[each.id];
    const plan = planName(each.items[0]?.product);
    if (!was) seen.push(`${plan} started`);
    else if (!was.cancel_at && each.cancel_at) seen.push(`${plan} ends on ${day(each.cancel_at)}`);
    else if (was.cancel_at && !each.cancel_at) seen.push(`${plan} renews again`);
    else if (was.status !== each.status) seen.push(`${plan}: ${was.status} → ${each.status}`);
    if (was && was.items[0]?.product !== each.items[0]?.product) seen.push(`${planName(was.items[0]?.product)} → ${plan}`);
    if (was && was.items[0]?.quantity !== each.items[0]?.quantity) seen.push(`${plan}: ${seats(each.items[0]?.quantity)}`);
    delete previously[each.id];
  }
  for (const gone of Object.values(previously)) seen.push(`${planName(gone.items[0]?.product)} ended`);
  if (before.payment_method?.last4 !== now.payment_method?.last4) seen.push("Payment method changed");
  return seen;
}

function note(text) {
  notes = [...notes, { at: clock(new Date()), text }].slice(-20);
  showNote(notes.at(-1));
}

function showNote({ at, text }) {
  byId("changes").prepend(element("li", {}, element("time", { textContent: at }), text));
}

// ---------------------------------------------------------------- the first purchase

async function readCatalog() {
  const response = await fetch(`${stack.api_url}/catalog`); // public: it needs no token
  if (response.ok) ({ products } = await response.json());
}

const money = ({ unit_amount, currency }) =>
  (unit_amount / 100).toLocaleString(undefined, { style: "currency", currency, minimumFractionDigits: 0 });

function renderOffer(now) {
  const offered = !now.subscriptions.some((each) => each.gives_access);
  byId("offer").hidden = !offered || !products.length;
  const shown = JSON.stringify(products);
  if (byId("plans").dataset.shown === shown) return; // do not replace a button while it is clicked
  byId("plans").dataset.shown = shown;
  byId("plans").replaceChildren(...products.map((product) => {
    const [price] = product.prices;
    const button = element("button", { className: "primary", type: "button", textContent: `Choose ${product.name}` });
    button.addEventListener("click", () => buy(button, price));
    return element("li", {},
      element("strong", { textContent: product.name }),
      element("p", { className: "price" }, money(price), element("small", { textContent: ` per seat and ${price.interval}` })),
      element("ul", {}, ...product.features.map((feature) => element("li", { textContent: feature.name }))),
      button);
  }));
}

async function buy(button, price) {
  button.disabled = true;
  try {
    const session = await signedIn("/checkout-sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ price: price.lookup_key ?? price.id, success_url: `${location.origin}/`, cancel_url: `${location.origin}/` }),
    });
    location.assign(session.url);
  } catch (error) {
    notice(error.message);
  } finally {
    button.disabled = false;
  }
}

// The address contains the session's id. Retrieving the session returns the purchase before its webhook arrives.
async function backFromCheckout() {
  const session = new URLSearchParams(location.search).get("checkout_session_id");
  if (!session) return null;
  const done = () => history.replaceState(null, "", location.pathname);
  try {
    const { entitlements } = await signedIn(`/checkout-sessions/${encodeURIComponent(session)}`);
    done();
    return entitlements;
  } catch (error) {
    if (error.status !== 404) throw error; // the next refresh tries again
    done(); // the session belongs to another user
    return null;
  }
}

// ---------------------------------------------------------------- the portal

byId("manage").addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    const session = await signedIn("/portal-sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ return_url: `${location.origin}/` }),
    });
    location.assign(session.url);
  } catch (error) {
    notice(error.message);
  } finally {
    event.target.disabled = false;
  }
});

// With the browser's back button the page can come from its cache, with old data.
addEventListener("pageshow", (event) => { if (event.persisted && subject) refresh(); });

await readCatalog();
if (subject) showAccount(); else showSignIn();
