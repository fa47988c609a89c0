"""JSON Web Tokens: a thin layer over SimpleJWT that closes what it leaves open. Depends on no other app of ours."""
