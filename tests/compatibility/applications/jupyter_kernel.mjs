// Runs in a page of Jupyter: starts a kernel, runs a cell, and returns the size of its output.
async (url) => {
  const xsrf = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? "";
  const headers = { "X-XSRFToken": xsrf, "Content-Type": "application/json" };
  const response = await fetch(`${url}/api/kernels`, { method: "POST", headers, body: "{}" });
  const { id } = await response.json();
  const socket = new WebSocket(`${url.replace("http", "ws")}/api/kernels/${id}/channels`);
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  return await new Promise((resolve) => {
    let size = 0;
    // The output precedes the state `idle` of its request. The reply, which is on another channel,
    // can precede both.
    socket.onmessage = ({ data }) => {
      const { msg_type: type, parent_header: parent, content } = JSON.parse(data);
      if (type === "stream") size += content.text.length;
      if (content.execution_state === "idle" && parent.msg_id === "1") resolve(size);
    };
    const header = { msg_id: "1", msg_type: "execute_request", session: "s", username: "", version: "5.3" };
    const content = { code: "print('x' * 2_000_000)", silent: false };
    socket.send(JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: "shell" }));
  });
};
