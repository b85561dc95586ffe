"""A page that counts presses of a button."""

import streamlit

streamlit.session_state.setdefault("presses", 0)
if streamlit.button("Add"):
    streamlit.session_state.presses += 1
streamlit.write(f"Presses: {streamlit.session_state.presses}")
