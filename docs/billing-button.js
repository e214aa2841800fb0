// <button id="billing">Manage billing</button>
const button = document.getElementById("billing");
button.addEventListener("click", async () => {
  button.disabled = true;
  const response = await fetch(`${API_URL}/portal-sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${await accessToken()}`, "content-type": "application/json" },
    body: JSON.stringify({ return_url: location.href }),
  }).catch((error) => error);
  const answer = response.json ? await response.json() : response;
  button.disabled = false;
  if (response.ok) location.assign(answer.url);
  else alert(answer.detail ?? answer.message);
});
